package schema

import "fmt"

// Severity tells whether a Problem refuses the config or only warns.
type Severity string

// The severities. A config with any Error changes nothing.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Position is a place in a file of the repository. Line and Col count from 1,
// Col and EndCol in bytes; zero means unknown.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Col    int    `json:"col,omitempty"`
	EndCol int    `json:"end_col,omitempty"`
}

// String gives "file:line:col" as far as it is known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Problem is a fault in a config, with its place and a way out.
type Problem struct {
	Position
	Severity Severity   `json:"severity"`
	Code     string     `json:"code"`              // stable, kebab-case: "unknown-key", "wrong-type", "out-of-range", ...
	Path     string     `json:"path"`              // "service.web.memory_limit_mb"
	Message  string     `json:"message"`           // "-1 is below the minimum 0"
	Hint     string     `json:"hint,omitempty"`    // "did you mean memory_limit_mb?"
	Excerpt  string     `json:"excerpt,omitempty"` // the source line, without its newline
	Related  []Position `json:"related,omitempty"` // the other side of a conflict: a policy, a first definition
}

// Error gives the one-line form: file:line:col: error: path: message.
func (p Problem) Error() string {
	if p.Path == "" {
		return fmt.Sprintf("%s: %s: %s", p.Position, p.Severity, p.Message)
	}
	return fmt.Sprintf("%s: %s: %s: %s", p.Position, p.Severity, p.Path, p.Message)
}
