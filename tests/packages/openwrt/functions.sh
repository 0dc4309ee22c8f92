# Enough of OpenWrt's /lib/functions.sh and of procd to see what an init script starts. UCI here: one word or one
# quoted text behind each option.

# Reads $ROOT/etc/config/NAME: what it has comes to stand in the variables uci_SECTION_OPTION.
config_load() {
    uci_sections=
    local kind name value section= line
    while read -r kind name value; do
        case "$kind" in
            config)
                section=$(unquoted "$value")
                uci_sections="$uci_sections $section"
                eval "uci_${section}_TYPE=\$name"
                ;;
            option) value=$(unquoted "$value") && eval "uci_${section}_$name=\$value" ;;
            list)
                value=$(unquoted "$value")
                eval "uci_${section}_${name}_list=\"\${uci_${section}_${name}_list:+\$uci_${section}_${name}_list
}\$value\""
                ;;
        esac
    done < "$ROOT/etc/config/$1"
}

unquoted() {
    local text="$1"
    text=${text#[\'\"]}
    echo "${text%[\'\"]}"
}

config_foreach() {
    local call="$1" type="$2" each found
    for each in $uci_sections; do
        eval "found=\$uci_${each}_TYPE"
        [ "$found" != "$type" ] || "$call" "$each"
    done
}

config_get() {
    eval "$1=\${uci_${2}_$3:-\${4:-}}"
}

config_get_bool() {
    local read_bool
    config_get read_bool "$2" "$3" "$4"
    case "$read_bool" in
        1 | on | true | yes | enabled) eval "$1=1" ;;
        *) eval "$1=0" ;;
    esac
}

config_list_foreach() {
    local all line call="$3"
    eval "all=\${uci_${1}_${2}_list:-}"
    [ -n "$all" ] || return 0
    local IFS='
'
    for line in $all; do
        unset IFS
        "$call" "$line"
    done
}

logger() {
    while [ $# -gt 1 ]; do shift; done
    echo "log: $1"
}

# What is begun within another is lost, and takes that along.
procd_open_instance() {
    [ -z "$instance" ] || echo "procd: $instance was not closed"
    instance="$1" set=
}

procd_set_param() {
    [ "$1" != command ] || command=
    procd_append_param "$@"
}

procd_append_param() {
    local what="$1" word
    shift
    for word in "$@"; do
        case "$what" in
            command) command="$command $word" ;;
            *) set="$set $what:$word" ;;
        esac
    done
}

procd_close_instance() {
    echo "$instance:$command"
    echo " $set"
    instance=
}

procd_add_reload_trigger() {
    echo "reloaded with: $*"
}
