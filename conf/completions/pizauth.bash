# bash completion for pizauth(1): commands, options, formats and account names.

# Prints the account names: the running server's, else those of the configuration file.
_pizauth_accounts() {
    local names
    names=$(pizauth status 2>/dev/null | sed -nE 's/: (No access token|Access token|Active access token).*//p')
    if [ -z "$names" ]; then
        names=$(sed -n 's/^[[:space:]]*account[[:space:]]*"\([^"\\]*\)".*/\1/p' \
            "${XDG_CONFIG_HOME:-$HOME/.config}/pizauth.conf" 2>/dev/null)
    fi
    [ -z "$names" ] || printf '%s\n' "$names"
}

# Offers the account names that begin with what is typed.
_pizauth_offer_accounts() {
    local typed=$1 start="" name
    case $typed in
        # Within quotes nothing is parted, and nothing needs a backslash.
        [\"\']*) typed=${typed:1} ;;
        # What is offered takes the place of the last part only, to which "@" belongs and ":" does not.
        *)
            start=${typed%"${typed##*[@:]}"}
            start=${start%@} ;;
    esac
    while IFS= read -r name; do
        [ "$typed" != "$1" ] || printf -v name %q "$name"
        case $name in
            "$typed"*) COMPREPLY+=("${name#"$start"}") ;;
        esac
    done < <(_pizauth_accounts)
}

_pizauth() {
    local cur prev command options="" operand="" i=$COMP_CWORD line=${COMP_LINE:0:COMP_POINT}
    cur=${COMP_WORDS[i]}
    # bash parts words at "@" and ":" too: what stands together is put together again.
    while [ "$i" -gt 2 ] && [[ $line != *[[:space:]]"$cur" ]]; do
        i=$((i - 1))
        cur=${COMP_WORDS[i]}$cur
    done
    prev=${COMP_WORDS[i-1]}
    COMPREPLY=()

    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "auth check discover dump info refresh reload restore revoke server show shutdown
            status -h --help -V --version" -- "$cur"))
        return
    fi
    command=${COMP_WORDS[1]}

    case $command:$prev in
        check:-c | info:-c | server:-c)
            local IFS=$'\n'
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            return ;;
        show:-f)
            COMPREPLY=($(compgen -W "token json header xoauth2 oauthbearer git" -- "$cur"))
            return ;;
        auth:-w | refresh:-w | show:-w | show:-t)
            COMPREPLY=($(compgen -W "30s 1m 5m 10m 1h" -- "$cur"))
            return ;;
        show:-U)
            return ;;
    esac

    case $command in
        auth) options="-n -u -w" operand=account ;;
        check) options="-c" ;;
        info) options="-c -j" ;;
        refresh) options="-u -w" operand=account ;;
        revoke) options="-l" operand=account ;;
        server) options="-c -d -v" ;;
        show) options="-u -f -t -w -U" operand=account ;;
        status) options="-j -u" operand=account ;;
    esac

    case $cur in
        -*)
            COMPREPLY=($(compgen -W "$options -h" -- "$cur"))
            return ;;
    esac
    [ "$operand" != account ] || _pizauth_offer_accounts "$cur"
}

complete -F _pizauth pizauth
