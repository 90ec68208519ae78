package router

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/tenement/ten/schema"
)

// TestSettingsAreFollowed: domain, proxies and caps are those of the model in
// force, and change with it; what the command line said stays.
func TestSettingsAreFollowed(t *testing.T) {
	t.Parallel()
	model := func(domain string) *schema.Model {
		s := schema.NewSettings(schema.Values{"domain": domain, "max_header_kb": int64(4), "max_body_mb": int64(1), "trusted_proxies": []any{"10.0.0.0/8", "::1"}})
		return &schema.Model{Settings: s, Services: []*schema.Service{{Name: "web"}}}
	}
	for _, c := range []struct{ flag, host string }{{"", "web.one.example"}, {"two.example", "web.two.example"}} {
		r := New(Config{Options: Options{Domain: c.flag}})
		if r.trusts(netip.MustParseAddr("10.1.2.3")) || r.maxBody() != 0 || r.maxHeader() != 64<<10 {
			t.Error("settings that are not in force hold")
		}
		r.Publish(Update{Model: model("one.example"), Whole: true})
		if m := r.Table().Lookup(c.host, "/"); m.Kind == Nowhere {
			t.Errorf("flag %q: %s leads nowhere", c.flag, c.host)
		}
		if !r.trusts(netip.MustParseAddr("10.1.2.3")) || !r.trusts(netip.MustParseAddr("::1")) || r.trusts(netip.MustParseAddr("11.1.2.3")) {
			t.Error("trusted_proxies are not followed")
		}
		if r.maxBody() != 1<<20 || r.maxHeader() != 4<<10 {
			t.Errorf("body %d, header %d", r.maxBody(), r.maxHeader())
		}
		w := httptest.NewRecorder()
		req := httptest.NewRequest("GET", "http://"+c.host+"/", nil)
		req.Header.Set("X", strings.Repeat("a", 5000))
		r.ServeHTTP(w, req)
		if w.Code != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a head of 5000 bytes: %d", w.Code)
		}
	}
}
