package fleet

import "strings"

// The parameters of a bootstrap, in order: what only the person who applies the
// export knows. A target makes variables of them, without a default.
const (
	AboutURL        = "Where new hosts download ten: the https URL of the program itself"
	AboutSum        = "The SHA-256 of that program, in hex; another one is not installed"
	AboutRepository = "The URL of the repository that the hosts follow"
)

// Script installs ten: its arguments are the URL, the sum, and those of ten
// install. It stops at the first failure, and installs nothing that has another sum.
const Script = `url=$1 sum=$2; shift 2; dir=$(mktemp -d); ` +
	`curl -fsSL --proto =https -o "$dir/ten" "$url"; echo "$sum  $dir/ten" | sha256sum -c -; ` +
	`chmod 755 "$dir/ten"; "$dir/ten" install "$@"; rm -r "$dir"`

// Packages are what a new server needs beside its image.
func Packages() []string { return []string{"ca-certificates", "curl", "git"} }

// Command is the program and its arguments up to the URL that cloud-init runs;
// then come the URL, the sum, "--repo", the repository, and Flags.
func Command() []string { return []string{"sh", "-euc", Script, "ten"} }

// Remote is one line for the shell of a machine's user, which reads the URL, the
// sum and the repository from its input, a line each: no value passes through a
// shell's quoting.
func (f Fleet) Remote(user string) string {
	script := `read -r url; read -r sum; read -r repo; set -- "$url" "$sum" --repo "$repo" "$@"; ` + Script
	words := append([]string{"sh", "-euc", script, "ten"}, f.Flags...)
	if user != "root" {
		words = append([]string{"sudo", "-n"}, words...)
	}
	for i, w := range words {
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}
