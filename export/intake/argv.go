package intake

import (
	"strconv"
	"strings"

	shellquote "github.com/kballard/go-shellquote"

	"github.com/tenement/ten/schema"
)

// Marks stand for what the foreign tool fills in and ten can too, while a text
// is taken apart: they tell it from braces that mean nothing there.
const (
	portMark = "\uE000"
	idMark   = "\uE001"
	nameMark = "\uE002"
	dataMark = "\uE003"
)

// filled makes variables of ten's out of marks.
func filled(text string) string {
	return strings.NewReplacer(portMark, "{port}", idMark, "{id}", nameMark, "{name}", dataMark, "{instance_dir}").Replace(text)
}

// run sets what a service runs: words as the kernel would see them.
func (s *service) run(argv []string, at schema.Position, note string) {
	if len(argv) == 0 || strings.TrimSpace(argv[0]) == "" {
		s.gap("command", at, "it names no program")
		return
	}
	odd := false
	words := make([]string, len(argv))
	for i, w := range argv {
		if strings.ContainsRune(w, 0) {
			s.gap("command", at, "a word of it holds a NUL byte")
			return
		}
		if misspelt(w) {
			s.gap("command", at, "ten would take what stands in the braces of "+shown(w)+" for a variable of its own")
			return
		}
		if v := variableIn(w); v != "" {
			s.convert("command", w, at, "ten fills in "+v, "write it another way if that is not meant")
		}
		odd = odd || strings.ContainsAny(w, "'\\\n\t")
		words[i] = filled(w)
	}
	s.unset("args")
	if odd && len(words) > 1 {
		s.set("command", words[0], at, note)
		s.set("args", words[1:], at, "")
		return
	}
	s.set("command", joined(words), at, note)
}

// joined makes one line of words, such that splitting it gives them back.
func joined(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		needs := strings.IndexFunc(w, func(r rune) bool {
			return r < 0x80 && !isAssignment(string(r)+"=") && (r < '0' || r > '9') && !strings.ContainsRune("-./:@%+=,{}", r)
		})
		switch {
		case w != "" && needs < 0:
			out[i] = w
		case strings.Contains(w, "'"):
			out[i] = shellquote.Join(w)
		default:
			out[i] = "'" + w + "'"
		}
	}
	return strings.Join(out, " ")
}

// runShell sets a line that a shell is meant to read. Where the shell would do
// nothing but split it and fill in PORT, the program is started without one.
func (s *service) runShell(line string, at schema.Position, note string) {
	if strings.TrimSpace(line) == "" {
		s.gap("command", at, "it names no program")
		return
	}
	argv, env, ok := plainWords(line)
	if !ok {
		s.run([]string{"sh", "-c", line}, at, note)
		return
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		s.setEnv(name, value, at, "stood before the command")
	}
	s.run(argv, at, note)
}

// plainWords splits a shell's line into the variables set before it and the
// words, when a shell would do nothing more than that. $PORT becomes portMark.
func plainWords(line string) (argv, env []string, ok bool) {
	line, ok = plain(line)
	if !ok {
		return nil, nil, false
	}
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, nil, false
	}
	for len(words) > 0 && isAssignment(words[0]) {
		if strings.Contains(words[0], portMark) {
			return nil, nil, false
		}
		env = append(env, words[0])
		words = words[1:]
	}
	return words, env, len(words) > 0 && words[0] != "" && !isBuiltin(words[0])
}

func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" && (name[0] < '0' || name[0] > '9')
}

// isBuiltin names what only a shell can run.
func isBuiltin(word string) bool {
	switch word {
	case "cd", "exec", "export", "set", "unset", "source", ".", "if", "for", "while", "until", "case", "{", "!", "eval", "trap", "ulimit", "umask", "wait", ":", "alias", "read":
		return true
	}
	return false
}

// plain reports whether a shell would only split a line and fill in PORT, and
// gives it with portMark for PORT.
func plain(line string) (string, bool) {
	if strings.Contains(line, portMark) {
		return "", false
	}
	var b strings.Builder
	var quote byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'':
		case c == '$' && portAt(line[i:]) > 0:
			i += portAt(line[i:]) - 1
			b.WriteString(portMark)
			continue
		case strings.IndexByte("$`\\\n", c) >= 0, quote == 0 && strings.IndexByte("|&;<>()*?[]#~!", c) >= 0:
			return "", false
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		}
		b.WriteByte(c)
	}
	return b.String(), quote == 0
}

// portAt gives how long the $PORT or ${PORT} is that a text begins with, or 0.
func portAt(text string) int {
	if strings.HasPrefix(text, "${PORT}") {
		return len("${PORT}")
	}
	if rest, ok := strings.CutPrefix(text, "$PORT"); ok && (rest == "" || !isAssignment(rest[:1]+"=") && (rest[0] < '0' || rest[0] > '9')) {
		return len("$PORT")
	}
	return 0
}

// portNumber reads a TCP port.
func portNumber(text string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil && n > 0 && n <= 65535
}
