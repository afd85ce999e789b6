#!/bin/sh
# Make, mend or complete an environment, or say in one message why that cannot be: environment.sh FOLDER EXTRA
#
# EXTRA is what of pyproject.toml it shall hold: services (what running needs), dev (the tools of development as well)
# or bench. PYTHON may name the interpreter, and GOAL says what the person has asked make for.
set -eu
venv=$1 extra=$2
goal="make ${GOAL:-venv}"
python=${PYTHON:-}
supported="3.14 3.13 3.12 3.11"
pins=$(cat pyproject.toml constraints.txt | cksum)
here=$(pwd -P)

main() {
    # Some shells would go on with the next line when ctrl-C has ended the program of this one.
    trap 'exit 130' INT
    [ -z "$python" ] || take_the_given_one
    if is_whole && [ -n "$python" ] && [ "${mark%% *}" != "$version" ]; then
        refuse "$goal: $venv was made with Python ${mark%% *}, and PYTHON is '$python', which is Python $version." \
            "do: $goal without PYTHON, or 'make clean' first"
    fi
    if ! is_whole || ! is_installed; then
        need_writable
        is_whole || [ -n "$python" ] || take_the_first_that_fits
        if [ -z "${ALONE:-}" ]; then
            if is_whole; then python="$venv/bin/python"; fi
            ALONE=yes exec "$python" tools/alone.py "$0" "$venv" "$extra"
        fi
        if ! is_whole; then make_environment; fi
        install
    fi
}

refuse() {
    printf '%s\n' "$@" >&2
    exit 1
}

# -- interpreters

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Why an interpreter of that version cannot be used; nothing: it can.
lack_of() {
    case " $supported " in
    *" $2 "*) "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        echo "$1 is $2, but without its module venv (on Debian and Ubuntu: sudo apt install ${1##*/}-venv)" ;;
    *) echo "$1 is $2" ;;
    esac
}

take_the_given_one() {
    version=$(version_of "$python") || refuse_interpreters "PYTHON is '$python', which is no Python that starts"
    lack=$(lack_of "$python" "$version")
    [ -z "$lack" ] || refuse_interpreters "$lack"
}

take_the_first_that_fits() {
    found=
    for python in python3 $(printf 'python%s ' $supported); do
        version=$(version_of "$python") || continue
        case "$found" in *" is $version"*) continue ;; esac
        lack=$(lack_of "$python" "$version")
        [ -n "$lack" ] || return 0
        found="${found:+$found; }$lack"
    done
    refuse_interpreters "${found:-no python3}"
}

refuse_interpreters() {
    refuse "$goal: orderfuse needs Python 3.11, 3.12, 3.13 or 3.14, and cannot use what is here." \
        "found: $1" \
        "do: install one (package manager, python.org, pyenv), or name it: $goal PYTHON=/path/to/python3.13"
}

# -- what is there

# Complete, of the interpreter that made it, and where it was made: a copy would run the library of its original.
is_whole() {
    mark=$(cat "$venv/.python-version" 2>/dev/null) && [ "$mark" = "$(version_of "$venv/bin/python") $here" ]
}

is_installed() {
    # Who has the tools has what running needs.
    for kind in "$extra" $([ "$extra" != services ] || echo dev); do
        [ "$(cat "$venv/.installed-$kind" 2>/dev/null)" != "$pins" ] || return 0
    done
    return 1
}

need_writable() {
    if [ -e "$venv" ]; then place=$here/$venv; else place=$here; fi
    [ -w "$place" ] || refuse "$goal: the environment $venv has to be set up, and $place cannot be written." \
        "do: clone orderfuse into a folder that you own, or make this one writable"
}

# -- doing it

make_environment() {
    echo "making $venv with $python (Python $version)"
    "$python" -m venv --clear "$venv" || refuse "$goal: '$python -m venv $venv' failed; what it says is above."
    echo "$version $here" >"$venv/.python-version"
}

install() {
    case $extra in
    services) echo "installing what running needs into $venv: about half a minute" ;;
    dev) echo "installing what running, testing and the documents need into $venv: about a minute" ;;
    *) echo "installing what '$extra' needs into $venv" ;;
    esac
    # A package that pip was copying when it was interrupted looks installed to it. INSTALLER comes after the files.
    for info in "$venv"/lib/python*/site-packages/*.dist-info; do
        [ ! -d "$info" ] || [ -f "$info/INSTALLER" ] || rm -r "$info"
    done
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable ".[$extra]" ||
        refuse "$goal: pip cannot install what is needed into $venv; what it says is above." \
            "do: see that there is a network, and that pip knows your proxy (HTTPS_PROXY); then again: $goal"
    echo "$pins" >"$venv/.installed-$extra"
}

main
