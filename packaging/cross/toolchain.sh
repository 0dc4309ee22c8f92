#!/bin/sh
# toolchain.sh FOLDER: what builds nt for other machines where rustup can fetch nothing, unpacked into FOLDER.
#
# Debian has a rustc with the sources of its standard library, and qemu; PyPI has zig, which is the C compiler and
# the linker, and cargo-zigbuild. Nothing is installed, and no root is needed. The file FOLDER/rustc comes last: where
# it is, all is there.
set -eu
mkdir -p "$1/packages"
folder=$(cd "$1" && pwd)

# Debian's security updates bring newer ones than Debian began with: lists of before know of an old one alone.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../../Cargo.toml")
offered=$(apt-cache policy rustc-web | sed -n 's/^ *Candidate: //p')
if [ "$(printf '%s\n' "$wanted" "$offered" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "nt wants Rust $wanted, and apt knows of rustc-web ${offered:-nothing}: apt-get update first" >&2
    exit 1
fi

# The version moves with those updates, and the names of two packages with it.
needs() { apt-cache depends "$1" | sed -n "s/^ *Depends: \($2\)\$/\1/p" | head -n 1; }
std=$(needs libstd-rust-web-dev 'libstd-rust-web-[0-9.]*')
llvm=$(needs "$std" 'libllvm[0-9]*')

cd "$folder/packages"
apt-get -q download rustc-web rust-web-src libstd-rust-web-dev "$std" "$llvm" qemu-user-static \
    binutils-mips-linux-gnu binutils-mipsel-linux-gnu
for package in *.deb; do
    dpkg -x "$package" "$folder"
    rm "$package"
done

# Other versions of zig do not link for MIPS, or link what does not run: docs/PLATFORMS.md.
python3 -m venv "$folder/zig"
"$folder/zig/bin/pip" install -q ziglang==0.14.1 cargo-zigbuild==0.24.0

cat > "$folder/rustc.new" <<END
#!/bin/sh
LD_LIBRARY_PATH='$folder/usr/lib/x86_64-linux-gnu' exec '$folder/usr/bin/rustc' "\$@"
END
chmod +x "$folder/rustc.new"
"$folder/rustc.new" --version
mv "$folder/rustc.new" "$folder/rustc"
