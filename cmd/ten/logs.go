package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenement/ten/host/api"
)

type logsOptions struct {
	follow bool
	json   bool
	limit  int
	level  string
	search string
}

func newLogsCommand(e *env) *cobra.Command {
	var opts logsOptions
	cmd := &cobra.Command{
		Use:   "logs [SERVICE[:ID]]",
		Short: "Print what a service or an instance wrote",
		Long: `Print the last lines that the instances of a service, or one instance, or all of
this host, wrote to their standard output and error, oldest first. Times are UTC.

Exit status
  0  printed, or there are none
  1  no such service, or the daemon could not be asked
  2  wrong usage`,
		Example: `  ten logs web
  ten logs web:prod -f --level stderr`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: completeInstance(e),
		RunE: func(cmd *cobra.Command, given []string) error {
			return runLogs(cmd.Context(), e, opts, first(given))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&opts.follow, "follow", "f", false, "go on printing as lines come")
	f.IntVar(&opts.limit, "limit", 100, "how many of the last lines")
	f.StringVar(&opts.level, "level", "", "only stdout or only stderr")
	f.StringVar(&opts.search, "search", "", "only lines with this text in them")
	f.BoolVar(&opts.json, "json", false, "print one JSON object a line")
	return cmd
}

func runLogs(ctx context.Context, e *env, opts logsOptions, name string) error {
	if opts.limit < 1 {
		return &usageError{fmt.Errorf("--limit %d: want at least 1", opts.limit)}
	}
	if opts.level != "" && opts.level != "stdout" && opts.level != "stderr" {
		return &usageError{fmt.Errorf("--level %q: want stdout or stderr", opts.level)}
	}
	service, id, _ := strings.Cut(name, ":")
	c, err := e.client()
	if err != nil {
		return err
	}
	defer c.Close()
	p := e.paint()
	format := func(l logLine) string { return l.text(p, isTerminal(e.stdout)) }
	if opts.json {
		format = logLine.json
	}
	w := &logWriter{w: e.stdout, format: format}
	err = c.Write(ctx, w, api.LogQuery{
		Service: service, Instance: id, Level: opts.level, Search: opts.search, Limit: opts.limit, Follow: opts.follow,
	})
	if opts.follow && ctx.Err() != nil {
		return nil // to stop following is how following ends
	}
	return err
}

// logLine is one line as the daemon sends it: "RFC3339Nano LEVEL service:id text".
type logLine struct {
	At       time.Time `json:"at"`
	Level    string    `json:"level"`
	Instance string    `json:"instance"`
	Text     string    `json:"text"`
}

func parseLogLine(line string) (logLine, bool) {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) < 3 {
		return logLine{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, parts[0])
	if err != nil {
		return logLine{}, false
	}
	l := logLine{At: at, Level: strings.ToLower(parts[1]), Instance: parts[2]}
	if len(parts) == 4 {
		l.Text = parts[3]
	}
	return l, true
}

func (l logLine) text(p paint, terminal bool) string {
	mark, text := "[OUT]", l.Text
	if l.Level == "stderr" {
		mark = p.red("[ERR]")
	}
	if terminal {
		text = tame(text)
	}
	return fmt.Sprintf("%s %s %s %s\n", p.dim(l.At.UTC().Format(time.TimeOnly)), mark, l.Instance, text)
}

func (l logLine) json() string {
	data, err := json.Marshal(l)
	if err != nil { // strings and a time always have a JSON form
		return ""
	}
	return string(data) + "\n"
}

// tame shows control characters instead of sending them to a terminal. Colours
// (ESC [ digits m) and tabs pass.
func tame(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if n := colourLen(s[i:]); n > 0 {
			b.WriteString(s[i : i+n])
			i += n - 1
			continue
		}
		switch c := s[i]; {
		case c == '\t', c >= 0x20 && c != 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// colourLen is the length of the colour sequence that s starts with, or 0.
func colourLen(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	end := strings.IndexFunc(s[2:], func(r rune) bool { return r != ';' && (r < '0' || r > '9') })
	if end < 0 || s[2+end] != 'm' {
		return 0
	}
	return end + 3
}

// logWriter rewrites whole lines and passes them on.
type logWriter struct {
	w      io.Writer
	format func(logLine) string
	rest   []byte
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	var out strings.Builder
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			break
		}
		w.rest = rest
		if l, ok := parseLogLine(string(line)); ok {
			out.WriteString(w.format(l))
		}
	}
	w.rest = bytes.Clone(w.rest)
	if _, err := io.WriteString(w.w, out.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}
