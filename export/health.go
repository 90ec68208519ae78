package export

import (
	"net/url"
	"strings"
	"time"

	"github.com/tenement/ten/schema"
)

// What ten's own probes do, for targets that have to be told.
const (
	ProbeTimeout   = 5 * time.Second
	UnhealthyAfter = 3 // failed probes in a row
)

// Probe is how a target asks an instance whether it is well.
type Probe string

// An instance is asked by HTTP, by a mere connection, or not at all.
const (
	ProbeHTTP    Probe = "http"
	ProbeConnect Probe = "connect"
	ProbeNone    Probe = "none"
)

// ProbeOf tells how an instance is asked. Path is the request line's, encoded as
// ten's own probe does; it is set for ProbeHTTP alone.
func (l Layout) ProbeOf(s *schema.Service) (p Probe, path string, err error) {
	switch s.Health {
	case schema.HealthNone:
		return ProbeNone, "", nil
	case "":
		return ProbeConnect, "", nil
	}
	u, err := url.Parse("http://localhost/" + strings.TrimPrefix(s.Health, "/"))
	if err != nil {
		return "", "", l.Refuse(s, "health", s.Health, "no request can ask for that path: "+err.Error(), "encode it: %20 for a space")
	}
	return ProbeHTTP, u.RequestURI(), nil
}
