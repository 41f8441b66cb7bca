# Sourced by the scripts: Debian packages, installed only when they are missing; and what else the
# scripts share.

# For GRAFO_WARNINGS_AS_ERRORS
strict=OFF
if [[ ${CI:-} == true ]]; then strict=ON; fi

# packages_in FILE...: the packages these lists name; lists that do not exist are empty
packages_in() {
    local file
    for file in "$@"; do
        if [[ -f $file ]]; then sed 's/#.*//' "$file"; fi
    done | sort -u
}

# quietly COMMAND...: runs it, and shows its output only when it fails
quietly() {
    local output
    output=$("$@" 2>&1) || { local code=$?; printf '%s\n' "$output" >&2; return $code; }
}

# A package, or the program of its name wherever that came from, is there
has_package() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]] ||
        command -v "${1%-build}" >/dev/null
}

# need_packages PACKAGE...: installs what is missing, or says what to install and exits.
# GRAFO_NO_INSTALL=1 skips it, on systems where the libraries come from elsewhere.
need_packages() {
    [[ ${GRAFO_NO_INSTALL:-} ]] && return
    local package missing=() as_root=()
    for package in "$@"; do
        has_package "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0

    ((EUID)) && as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || { ((EUID)) && ! sudo -n true 2>/dev/null; }; then
        {
            echo "These packages are missing: ${missing[*]}"
            echo "Install them, on Debian with: sudo apt-get install ${missing[*]}"
            echo "or, if they are there under other names, set GRAFO_NO_INSTALL=1."
        } >&2
        exit 1
    fi
    echo "installing ${missing[*]} ..." >&2
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
               apt-get -o DPkg::Lock::Timeout=120 --quiet)
    quietly "${apt[@]}" update || echo "apt-get update failed, trying without" >&2
    quietly "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" || {
        echo "Could not install: ${missing[*]}" >&2
        exit 1
    }
}
