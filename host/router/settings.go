package router

import (
	"net/http"
	"net/netip"

	"github.com/tenement/ten/schema"
)

// settings are what the settings in force say of requests, beside the domain.
type settings struct {
	trusted []netip.Prefix // proxies whose word on the client counts
	header  int            // bytes of a request's head; 0 = nothing is said
	body    int64          // bytes of a request's body; 0 = as many as it likes
}

// newSettings reads settings that schema/load found good.
func newSettings(s schema.Settings) settings {
	out := settings{header: s.MaxHeaderKB << 10, body: int64(s.MaxBodyMB) << 20}
	for _, text := range s.TrustedProxies {
		if p, err := netip.ParsePrefix(text); err == nil {
			out.trusted = append(out.trusted, p)
		} else if a, err := netip.ParseAddr(text); err == nil {
			out.trusted = append(out.trusted, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// maxHeader is how many bytes the head of a request may have.
func (r *Router) maxHeader() int {
	if limit := r.table.Load().settings.header; limit > 0 {
		return limit
	}
	return r.cfg.Limits.HeaderBytes
}

// mostHeader is the largest that max_header_kb may be: what net/http is told,
// which can't be told anew while it runs.
const mostHeader = 1 << 20

// tooLarge reports that the head of a request that net/http has read is larger
// than allowed.
func (r *Router) tooLarge(req *http.Request) bool {
	size := len(req.Method) + len(req.RequestURI) + len(req.Host)
	for name, values := range req.Header {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	return size > r.maxHeader()
}

// maxBody is how many bytes the body of a request may have, 0 = any number.
func (r *Router) maxBody() int64 {
	if limit := r.cfg.Limits.Body; limit > 0 {
		return limit
	}
	return r.table.Load().settings.body
}

// trusts reports whether a proxy's word on the client counts.
func (r *Router) trusts(addr netip.Addr) bool {
	for _, list := range [][]netip.Prefix{r.cfg.Trusted, r.table.Load().settings.trusted} {
		for _, p := range list {
			if p.Contains(addr) {
				return true
			}
		}
	}
	return false
}
