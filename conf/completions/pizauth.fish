# fish completion for pizauth(1): commands, options, formats and account names.

# Prints the account names: the running server's, else those of the configuration file.
function __pizauth_accounts
    set -l names (pizauth status 2>/dev/null | string replace -rf ': (No access token|Access token|Active access token).*' '')
    if test -z "$names"
        set -l folder $XDG_CONFIG_HOME
        test -n "$folder"; or set folder $HOME/.config
        set names (sed -n 's/^[[:space:]]*account[[:space:]]*"\([^"\\\\]*\)".*/\1/p' $folder/pizauth.conf 2>/dev/null)
    end
    printf '%s\n' $names
end

function __pizauth_in
    __fish_seen_subcommand_from $argv
end

complete -c pizauth -f
complete -c pizauth -n __fish_use_subcommand -s h -l help -d 'print help'
complete -c pizauth -n __fish_use_subcommand -s V -l version -d 'print the version'
complete -c pizauth -n 'not __fish_use_subcommand' -s h -d 'print help'

complete -c pizauth -n __fish_use_subcommand -a auth -d 'authorise an account now'
complete -c pizauth -n __fish_use_subcommand -a check -d 'check a configuration without running it'
complete -c pizauth -n __fish_use_subcommand -a discover -d 'print an account block from published metadata'
complete -c pizauth -n __fish_use_subcommand -a dump -d 'write the token state to standard output'
complete -c pizauth -n __fish_use_subcommand -a info -d 'print paths, ports and version'
complete -c pizauth -n __fish_use_subcommand -a refresh -d 'refresh a token now'
complete -c pizauth -n __fish_use_subcommand -a reload -d 'have the server read its configuration again'
complete -c pizauth -n __fish_use_subcommand -a restore -d 'read a dumped token state from standard input'
complete -c pizauth -n __fish_use_subcommand -a revoke -d 'forget a token'
complete -c pizauth -n __fish_use_subcommand -a server -d 'start the server'
complete -c pizauth -n __fish_use_subcommand -a show -d 'print an access token'
complete -c pizauth -n __fish_use_subcommand -a shutdown -d 'stop the server'
complete -c pizauth -n __fish_use_subcommand -a status -d 'print the state of accounts'

complete -c pizauth -n '__pizauth_in auth refresh revoke show status' -a '(__pizauth_accounts)' -d account
complete -c pizauth -n '__pizauth_in auth refresh show status' -s u -d 'leave authorization URLs out of messages'
complete -c pizauth -n '__pizauth_in check info server' -s c -r -F -d 'the configuration file'
complete -c pizauth -n '__pizauth_in info status' -s j -d 'print JSON'
complete -c pizauth -n '__pizauth_in auth' -s n -d 'do not wait for the token'
complete -c pizauth -n '__pizauth_in auth refresh show' -s w -x -a '30s 1m 5m 10m 1h' -d 'wait so long'
complete -c pizauth -n '__pizauth_in revoke' -s l -d 'do not ask the provider'
complete -c pizauth -n '__pizauth_in server' -s d -d 'stay in the foreground'
complete -c pizauth -n '__pizauth_in server' -s v -d 'log more'
complete -c pizauth -n '__pizauth_in show' -s f -x -a 'token json header xoauth2 oauthbearer git' -d 'print the token as'
complete -c pizauth -n '__pizauth_in show' -s t -x -a '1m 5m 10m' -d 'ask for a token that lives at least so long'
complete -c pizauth -n '__pizauth_in show' -s U -x -d 'the user of xoauth2, oauthbearer and git'
