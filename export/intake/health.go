package intake

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tenement/ten/schema"
)

// probeURL finds what a health check of the kind "curl http://localhost/x" asks.
var probeURL = regexp.MustCompile(`https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::[^\s/'"|;&]+)?(/[^\s'"|;&)]*)?`)

// healthPath finds the path that a health command asks for by HTTP.
func healthPath(command string) (string, bool) {
	m := probeURL.FindStringSubmatch(command)
	if m == nil {
		return "", false
	}
	path := m[1]
	if path == "" {
		path = "/"
	}
	if _, err := url.Parse("http://localhost" + path); err != nil {
		return "", false
	}
	return path, true
}

// tenProbe recognizes the health check that ten export compose wrote: its last
// words are a port and a path. A path of "/" may stand for a mere connection.
func tenProbe(words []string) (path string, connects, ok bool) {
	n := len(words)
	if n < 5 || words[0] != "CMD" || !strings.Contains(strings.Join(words, " "), "/dev/tcp/127.0.0.1/$1") {
		return "", false, false
	}
	if _, isPort := portNumber(words[n-2]); !isPort || !strings.HasPrefix(words[n-1], "/") {
		return "", false, false
	}
	return words[n-1], !strings.Contains(strings.Join(words, " "), "GET %s"), true
}

// seconds sets a field of whole seconds, rounded up, within ten's bounds.
func (s *service) seconds(name string, d time.Duration, most int, from string, at schema.Position) {
	n := int((d + time.Second - 1) / time.Second)
	switch {
	case d < 0:
		s.lose(name, from, at, "it is no time", "")
		return
	case n > most:
		s.convert(name, from, at, "ten waits "+strconv.Itoa(most)+" seconds at most", strconv.Itoa(most))
		n = most
	case n == 0:
		s.convert(name, from, at, "ten waits at least one second", "1")
		n = 1
	case time.Duration(n)*time.Second != d:
		s.convert(name, from, at, "ten counts whole seconds", strconv.Itoa(n))
	}
	s.set(name, n, at, "")
}

// megabytes sets memory_limit_mb, rounded up.
func (s *service) megabytes(bytes int64, from string, at schema.Position) {
	const mb = 1 << 20
	n := bytes / mb
	if bytes%mb != 0 {
		n++
	}
	switch {
	case bytes <= 0 || n > 4294967295:
		s.lose("memory_limit_mb", from, at, "it is no amount of memory", "")
		return
	case bytes%mb != 0:
		s.convert("memory_limit_mb", from, at, "ten counts whole MB", strconv.FormatInt(n, 10))
	}
	s.set("memory_limit_mb", int(n), at, "")
}

// signal sets stop_signal: "SIGINT", "INT" or a number that is the same on every
// machine.
func (s *service) signal(name string, at schema.Position) {
	numbers := map[string]string{"1": "HUP", "2": "INT", "3": "QUIT", "6": "ABRT", "9": "KILL", "14": "ALRM", "15": "TERM"}
	short := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "SIG")
	if byNumber, ok := numbers[short]; ok {
		short = byNumber
	}
	for _, f := range schema.ServiceFields() {
		if f.Name != "stop_signal" {
			continue
		}
		for _, known := range f.Enum {
			if known == "SIG"+short {
				s.set("stop_signal", known, at, "")
				return
			}
		}
	}
	s.lose("stop_signal", name, at, "ten does not stop programs with it", "SIGTERM")
}
