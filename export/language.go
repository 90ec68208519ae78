package export

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// language is how programs of one kind are built and run in an image.
type language struct {
	name    string
	words   []string // programs that its images have
	files   []string // files that only its projects have
	build   string   // image with the tools; %s = the version
	run     string   // image to run in
	version string   // when the source names none
	// says names the file in which a source asks for a version: after a word, in
	// so many numbers.
	says    string
	after   string
	numbers int
}

// plain is what runs programs that need nothing but a system.
const plain = "debian:trixie-slim"

// languages in the order in which marks in a source are looked at.
func languages() []language {
	return []language{
		{name: "go", words: []string{"go"}, files: []string{"go.mod"}, build: "golang:%s-trixie", run: plain, version: "1.26", says: "go.mod", after: "go ", numbers: 2},
		{name: "rust", words: []string{"cargo", "rustc"}, files: []string{"Cargo.toml"}, build: "rust:%s-trixie", run: plain, version: "1"},
		{name: "bun", words: []string{"bun", "bunx"}, files: []string{"bun.lock", "bun.lockb"}, build: "oven/bun:%s", run: "oven/bun:%s", version: "1"},
		{name: "deno", words: []string{"deno"}, files: []string{"deno.json", "deno.lock"}, build: "denoland/deno:%s", run: "denoland/deno:%s", version: "2"},
		{name: "node", words: []string{"node", "npm", "npx", "yarn", "corepack"}, files: []string{"package.json"}, build: "node:%s-trixie", run: "node:%s-trixie-slim", version: "22", says: ".nvmrc", after: "v", numbers: 1},
		{name: "python", words: []string{"python3", "python", "pip", "pip3"}, files: []string{"requirements.txt", "pyproject.toml"}, build: "python:%s-trixie", run: "python:%s-slim-trixie", version: "3.13", says: ".python-version", numbers: 2},
		{name: "ruby", words: []string{"ruby", "bundle", "gem", "rake"}, files: []string{"Gemfile"}, build: "ruby:%s-trixie", run: "ruby:%s-slim-trixie", version: "3.4", says: ".ruby-version", after: "ruby-", numbers: 2},
		{name: "php", words: []string{"php"}, files: []string{"composer.json"}, build: "php:%s-cli-trixie", run: "php:%s-cli-trixie", version: "8.4"},
		{name: "java", words: []string{"java", "javac", "jar"}, build: "eclipse-temurin:%s-jdk", run: "eclipse-temurin:%s-jre", version: "21"},
		{name: "maven", words: []string{"mvn"}, files: []string{"pom.xml"}, build: "maven:3-eclipse-temurin-%s", run: "eclipse-temurin:%s-jre", version: "21"},
		{name: "gradle", words: []string{"gradle"}, files: []string{"build.gradle", "build.gradle.kts"}, build: "gradle:jdk%s", run: "eclipse-temurin:%s-jre", version: "21"},
		{name: "c", words: []string{"gcc", "cc", "g++", "c++", "make"}, files: []string{"Makefile"}, build: "gcc:%s-trixie", run: plain, version: "14"},
	}
}

// systemWords are programs that the plain image has.
func systemWords() []string {
	return []string{
		"sh", "bash", "dash", "env", "sleep", "echo", "printf", "cat", "tail", "head", "true", "false", "yes", "seq", "date", "ls",
		"cp", "mv", "rm", "mkdir", "rmdir", "ln", "touch", "chmod", "chown", "install", "test", "[", "pwd", "cd", "exec", "export", "set",
		"sed", "awk", "grep", "find", "xargs", "sort", "uniq", "cut", "tr", "wc", "tee", "tar", "gzip", "perl", "sha256sum", "base64", "timeout",
		"dd", "mktemp", "basename", "dirname", "id", "uname", "trap", "wait", "while", "for", "if", "then", "else", "fi", "do", "done", ":",
	}
}

// runsWith finds the language whose image has a program; found is false for
// what only the machine of today has.
func runsWith(program string) (l language, found bool) {
	if slices.Contains(systemWords(), program) {
		return language{name: "system", build: plain, run: plain}, true
	}
	for _, l := range languages() {
		if slices.Contains(l.words, program) {
			return l, true
		}
	}
	return language{}, false
}

// marked finds the language that files in a source speak of.
func marked(tree fs.FS, source string) (language, bool) {
	for _, l := range languages() {
		for _, f := range l.files {
			if exists(tree, path.Join(source, f)) {
				return l, true
			}
		}
	}
	return language{}, false
}

// image gives the name of an image with the version that the source asks for.
func (l language) image(name string, tree fs.FS, source string) string {
	version := l.version
	if l.says != "" {
		for line := range strings.Lines(string(firstBytes(tree, path.Join(source, l.says)))) {
			if v := leadingVersion(strings.TrimPrefix(strings.TrimSpace(line), l.after), l.numbers); v != "" {
				version = v
				break
			}
		}
	}
	return strings.Replace(name, "%s", version, 1)
}

// leadingVersion gives the first so many numbers of "3.12.4", or "" where s
// begins with fewer.
func leadingVersion(s string, numbers int) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || '9' < r) })
	if end >= 0 {
		s = s[:end]
	}
	parts := strings.Split(s, ".")
	if len(parts) < numbers || slices.Contains(parts[:numbers], "") {
		return ""
	}
	return strings.Join(parts[:numbers], ".")
}

// interpreter reads the first line of a script: the program that it names, or
// "" where the file is no script.
func interpreter(tree fs.FS, name string) string {
	line, _, _ := bytes.Cut(firstBytes(tree, name), []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	if !ok {
		return ""
	}
	for _, w := range strings.Fields(string(rest)) {
		if base := path.Base(w); base != "env" && !strings.HasPrefix(w, "-") {
			return base
		}
	}
	return ""
}

func isELF(tree fs.FS, name string) bool {
	return bytes.HasPrefix(firstBytes(tree, name), []byte("\x7fELF"))
}

func exists(tree fs.FS, name string) bool {
	if tree == nil || !fs.ValidPath(name) {
		return false
	}
	info, err := fs.Stat(tree, name)
	return err == nil && !info.IsDir()
}

// firstBytes reads enough of a file to tell what it is; nothing where there is none.
func firstBytes(tree fs.FS, name string) []byte {
	if !exists(tree, name) {
		return nil
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil
	}
	return data
}
