# bash completion for pizauth(1): commands, options, formats and account names.

# Prints the account names: the running server's, else those of the configuration file.
_pizauth_accounts() {
    local names
    names=$(pizauth status 2>/dev/null | sed -n 's/: \(No access token\|Access token\|Active access token\).*//p')
    if [ -z "$names" ]; then
        names=$(sed -n 's/^[[:space:]]*account[[:space:]]*"\([^"\\]*\)".*/\1/p' \
            "${XDG_CONFIG_HOME:-$HOME/.config}/pizauth.conf" 2>/dev/null)
    fi
    printf '%s\n' "$names"
}

_pizauth() {
    local cur prev command word options="" operand="" i
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()

    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "auth check discover dump info refresh reload restore revoke server show shutdown
            status -h --help -V --version" -- "$cur"))
        return
    fi
    command=${COMP_WORDS[1]}

    case $command:$prev in
        check:-c | info:-c | server:-c)
            compopt -o filenames
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
    if [ "$operand" = account ]; then
        local IFS=$'\n'
        for word in $(_pizauth_accounts); do
            case $word in
                "$cur"*) COMPREPLY+=("$(printf '%q' "$word")") ;;
            esac
        done
    fi
}

complete -F _pizauth pizauth
