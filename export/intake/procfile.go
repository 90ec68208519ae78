package intake

import (
	"strings"

	"github.com/tenement/ten/schema"
)

// readProcfile reads NAME: COMMAND lines, as Heroku and Foreman do. There is no
// library for it: a line is all of its grammar.
func readProcfile(d *draft, src Source) error {
	line := 0
	for text := range strings.Lines(string(src.Data)) {
		line++
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, command, ok := strings.Cut(text, ":")
		name, command = strings.TrimSpace(name), strings.TrimSpace(command)
		switch {
		case !ok, name == "" || strings.ContainsAny(name, " \t"):
			return &Error{at(src, line), "this is no line NAME: COMMAND", "write it as, for example, web: bundle exec puma"}
		case command == "":
			return &Error{at(src, line), "process " + shown(name) + " has no command", "write it behind the colon"}
		case d.named(name) != nil:
			return &Error{at(src, line), "process " + shown(name) + " is declared twice", "keep one of the two"}
		case name == "release":
			d.lose(name, command, at(src, line), "it runs once per release and is no service", "build, or a step of your CI")
			continue
		}
		readProcess(d.add(name, at(src, line)), command, at(src, line))
	}
	return nil
}

// readProcess is one process type. Only web is sent requests; another listens
// where its line speaks of PORT.
func readProcess(s *service, command string, at schema.Position) {
	s.runShell(command, at, "")
	if s.foreign != "web" && s.get("port") == nil && !strings.Contains(command, "$PORT") && !strings.Contains(command, "${PORT") && !strings.Contains(command, "{port}") {
		s.set("health", schema.HealthNone, at, "only web is sent requests, and the line has no PORT")
	}
}
