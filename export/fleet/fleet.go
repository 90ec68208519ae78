// Package fleet says what the hosts of slum.toml need, for the targets that make
// hosts: servers, keys, open ports, and how a new host comes to run ten. It only
// says; what the repository's address is, and which ten is installed, are
// parameters of what a target writes.
package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Fleet is all hosts of a model. The zero value is none.
type Fleet struct {
	Project  string
	Servers  []*schema.Host // made at Hetzner, sorted by name
	Machines []*schema.Host // reached by ssh, sorted by name
	Keys     []Key          // of all servers, each once, sorted by name
	Ports    []int          // open on every server, sorted
	Flags    []string       // of ten install, beside --repo
}

// Key is a public key that Hetzner is told of. The same key has the same name
// whatever else changes, so that it is not made anew.
type Key struct {
	Name string // "key-0123456789"
	Line string // as written
}

// Judge says why a target can't hold a text, and the way out; "" = it can.
type Judge func(text string) (why, nearest string)

// defaultPort is where ten takes plain HTTP when nothing says otherwise.
const defaultPort = 8080

// New gives the hosts of a model, or refuses a text that the target would change.
func New(m *schema.Model, o export.Options, target string, judge Judge) (Fleet, error) {
	f := Fleet{Project: o.Project}
	if m.Slum == nil {
		return f, nil
	}
	f.Ports, f.Flags = ports(m.Settings), flags(m.Settings)
	for _, flag := range f.Flags {
		if why, nearest := faultOf(flag, judge); why != "" {
			return f, &export.RefusedError{Target: target, Field: "settings.domain", Value: strconv.Quote(flag), Why: why, Nearest: nearest}
		}
	}
	for _, h := range m.Slum.Hosts {
		if err := check(h, target, judge); err != nil {
			return f, err
		}
		if h.Operator == schema.OperatorSSH {
			f.Machines = append(f.Machines, h)
			continue
		}
		f.Servers = append(f.Servers, h)
		for _, line := range h.SSHKeys {
			key := Key{KeyName(line), line}
			if !slices.ContainsFunc(f.Keys, func(k Key) bool { return k.Name == key.Name }) {
				f.Keys = append(f.Keys, key)
			}
		}
	}
	slices.SortFunc(f.Keys, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
	return f, nil
}

// check refuses the texts of a host that a target would change.
func check(h *schema.Host, target string, judge Judge) error {
	texts := [][2]string{
		{"region", h.Region}, {"address", h.Address}, {"user", h.User},
		{"location", h.Location}, {"type", h.Type}, {"image", h.Image},
	}
	for _, line := range h.SSHKeys {
		texts = append(texts, [2]string{"ssh_keys", line})
	}
	for _, t := range texts {
		if why, nearest := faultOf(t[1], judge); why != "" {
			return &export.RefusedError{
				Target: target, Field: fmt.Sprintf("slum.host.%s.%s", h.Name, t[0]), Value: strconv.Quote(t[1]), At: h.Origin, Why: why, Nearest: nearest,
			}
		}
	}
	return nil
}

func faultOf(text string, judge Judge) (why, nearest string) {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "no file of text holds it", "write it in UTF-8, without zero bytes"
	}
	return judge(text)
}

// KeyName is the name of a public key: that of the key itself, without the comment
// behind it.
func KeyName(line string) string {
	words := strings.SplitN(line, " ", 3)
	sum := sha256.Sum256([]byte(strings.Join(words[:min(len(words), 2)], " ")))
	return "key-" + hex.EncodeToString(sum[:])[:10]
}

// KeyNames are the names of a server's keys, each once, in the order written.
func KeyNames(h *schema.Host) []string {
	var names []string
	for _, line := range h.SSHKeys {
		if name := KeyName(line); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// VolumeName is the name of a server's volume.
func VolumeName(h *schema.Host) string { return h.Name + "-data" }

// Labels are what a server and its parts are found by.
func (f Fleet) Labels(h *schema.Host) map[string]string {
	labels := map[string]string{ProjectLabel: f.Project}
	if h.Region != "" {
		labels["ten-region"] = h.Region
	}
	return labels
}

// ProjectLabel is the label of all that a project makes.
const ProjectLabel = "ten-project"

// EngineURL is where Docker listens on the one machine that is reached by ssh. ok
// is false where there is none, or several: a provider speaks to one engine; or
// where the address makes no URL.
func (f Fleet) EngineURL() (address string, ok bool) {
	if len(f.Machines) != 1 {
		return "", false
	}
	h := f.Machines[0]
	host := h.Address
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u := url.URL{Scheme: "ssh", User: url.User(h.User), Host: host + ":" + strconv.Itoa(h.Port)}
	address = u.String()
	read, err := url.Parse(address)
	if err != nil || read.Hostname() != h.Address || read.User.Username() != h.User || read.Port() != strconv.Itoa(h.Port) {
		return "", false
	}
	return address, true
}

// ports are those of SSH and HTTP, and where ten listens instead.
func ports(s schema.Settings) []int {
	all := []int{22, 80, 443}
	if !s.TLS.Enabled {
		all = append(all, cmp.Or(s.Port, defaultPort))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// flags are what ten install is told of the settings.
func flags(s schema.Settings) []string {
	list := []string{"--domain", cmp.Or(s.Domain, schema.DefaultDomain)}
	switch {
	case s.TLS.Enabled && s.TLS.ACMEEmail != "":
		list = append(list, "--tls", "--email", s.TLS.ACMEEmail)
		if s.TLS.DNSProvider != "" {
			list = append(list, "--dns-provider", s.TLS.DNSProvider)
		}
	case s.Port != 0:
		list = append(list, "--port", strconv.Itoa(s.Port))
	}
	return list
}
