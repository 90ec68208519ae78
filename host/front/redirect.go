package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// toHTTPS leads a plain request to the same address by HTTPS, method and body kept.
func (s *serving) toHTTPS(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.ContainsAny(host, "/\\@?# \t\r\n") {
		http.Error(w, "no such host", http.StatusBadRequest)
		return
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	if port := s.https.Load(); port != nil && *port != "443" {
		host += ":" + *port
	}
	w.Header().Set("Connection", "close") // the client goes elsewhere
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
}
