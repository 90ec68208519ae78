package intake

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/tenement/ten/schema"
)

// maxCapsLine is what isolate reads of a line; the rest it takes for another.
const maxCapsLine = 1023

// readCaps reads a capability file of isolate. Of its rules this build of ten
// has memory and env; the walls of a level stand in for the others.
func readCaps(d *draft, src Source) error {
	program, known := strings.CutSuffix(path.Base(src.Name), ".caps")
	if !known || program == "" {
		program, known = "app", false
	}
	s := d.add(program, at(src, 1))
	if dir, inside := inConfig(src, "."); inside && dir != "." {
		s.set("source", dir, s.at, "where the file lies")
	}
	if known {
		s.run([]string{"./" + program}, s.at, "isolate runs the program that the file is named after")
	} else {
		s.gap("command", s.at, "the name of the file tells no program: PROGRAM.caps")
	}
	c := &caps{service: s}
	number := 0
	for text := range strings.Lines(string(src.Data)) {
		number++
		place := at(src, number)
		if text = strings.TrimRight(text, "\r\n"); len(text) > maxCapsLine {
			return &Error{place, fmt.Sprintf("the line is longer than the %d bytes that isolate reads", maxCapsLine), "split it"}
		}
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		key, value, ok := strings.Cut(text, ":")
		if !ok {
			return &Error{place, "this is no line KEY: VALUE", "write a colon behind the key, or # before a comment"}
		}
		c.rules++
		c.rule(strings.TrimSpace(key), strings.TrimSpace(value), place)
	}
	if c.rules == 0 {
		return &Error{at(src, 0), "there is no rule in it", "is it a capability file?"}
	}
	if c.port == 0 {
		s.set("health", schema.HealthNone, s.at, "no rule lets it listen at one port")
	}
	return nil
}

// caps is one capability file being read.
type caps struct {
	*service
	rules, port int
}

func (c *caps) rule(key, value string, at schema.Position) {
	if i := strings.Index(value, " #"); i >= 0 && key != "env" {
		c.convert(key, value, at, "isolate knows no comments behind a value and would read on", "the comment is left out")
		value = strings.TrimSpace(value[:i])
	}
	const later = "this build of ten has no capability rules yet"
	switch key {
	case "memory":
		c.memory(value, at)
	case "env":
		name, text, ok := strings.Cut(value, "=")
		if !ok {
			c.lose("env", value, at, "it has no = and isolate ignores it", "")
			return
		}
		c.setEnv(name, text, at, "")
	case "user":
		if value != "auto" {
			c.lose(key, value, at, "ten chooses the user", "")
		}
	case "network":
		c.network(value, at)
	case "filesystem", "file":
		c.lose(key, value, at, later, "an instance reads the host's files and writes in {instance_dir} and /tmp")
	case "network_default", "filesystem_default", "processes", "files":
		c.lose(key, value, at, later, "")
	case "cpu":
		c.lose(key, value, at, "ten weighs processor time and caps none", "cpu_shares")
	case "env_clear":
		if value != "true" && value != "1" {
			c.lose(key, value, at, "a program of ten's gets no environment but its own", "env")
		}
	default:
		c.lose(key, value, at, "isolate knows no such key", "")
	}
}

// memory reads a number and the first letter of K, M, G or B behind it.
func (c *caps) memory(value string, at schema.Position) {
	digits := len(value) - len(strings.TrimLeft(value, "0123456789."))
	n, err := strconv.ParseFloat(value[:digits], 64)
	factor, unit := 1.0, strings.ToUpper(strings.TrimSpace(value[digits:]))
	switch {
	case unit == "" || unit[0] == 'B':
	case unit[0] == 'K':
		factor = 1 << 10
	case unit[0] == 'M':
		factor = 1 << 20
	case unit[0] == 'G':
		factor = 1 << 30
	default:
		factor = 0
	}
	if err != nil || factor == 0 || n <= 0 || n*factor > 1<<60 {
		c.lose("memory", value, at, "it can't be read as an amount of memory, and isolate would set no limit", "memory_limit_mb")
		return
	}
	c.megabytes(int64(n*factor), value, at)
}

// network: a rule for one TCP port that is meant as inbound tells where the
// program listens.
func (c *caps) network(value string, at schema.Position) {
	parts := strings.Split(value, ":")
	last := parts[len(parts)-1]
	if len(parts) == 3 && parts[0] == "tcp" && (last == "inbound" || last == "in") && c.port == 0 {
		if n, ok := portNumber(parts[1]); ok {
			c.port = n
			c.set("port", n, at, "meant as inbound, though isolate takes it for both ways")
			return
		}
	}
	c.lose("network", value, at, "this build of ten has no capability rules yet", "ten leaves the network to the host")
}
