package source

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func hexMAC(secret, body string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func hook(t testing.TB, secret string) (http.Handler, *int) {
	t.Helper()
	hints := new(int)
	h, err := NewWebhook(WebhookConfig{Secret: func() []byte { return []byte(secret) }, Hint: func() { *hints++ }})
	if err != nil {
		t.Fatal(err)
	}
	return h, hints
}

func deliver(h http.Handler, method, body string, header map[string]string) int {
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	const secret, body = "s3cret", `{"ref":"refs/heads/main"}`
	good := hexMAC(secret, body)
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))
	standard := func(id, at, body string) string {
		m := hmac.New(sha256.New, []byte("0123456789abcdef"))
		m.Write([]byte(id + "." + at + "." + body))
		return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
	}
	for name, c := range map[string]struct {
		secret, method, body string
		header               map[string]string
		want                 int
	}{
		"github":               {secret, "POST", body, map[string]string{"X-Hub-Signature-256": "sha256=" + good}, 202},
		"github, upper case":   {secret, "POST", body, map[string]string{"X-Hub-Signature-256": "sha256=" + strings.ToUpper(good)}, 202},
		"github, wrong":        {secret, "POST", body, map[string]string{"X-Hub-Signature-256": "sha256=" + hexMAC("other", body)}, 401},
		"github, other body":   {secret, "POST", body + " ", map[string]string{"X-Hub-Signature-256": "sha256=" + good}, 401},
		"github, no prefix":    {secret, "POST", body, map[string]string{"X-Hub-Signature-256": good}, 401},
		"github, cut short":    {secret, "POST", body, map[string]string{"X-Hub-Signature-256": "sha256=" + good[:20]}, 401},
		"github, sha1 only":    {secret, "POST", body, map[string]string{"X-Hub-Signature": "sha1=" + good}, 401},
		"gitea":                {secret, "POST", body, map[string]string{"X-Gitea-Signature": good, "X-Hub-Signature-256": "sha256=" + good, "X-Gogs-Signature": good}, 202},
		"gitea, one is wrong":  {secret, "POST", body, map[string]string{"X-Gitea-Signature": good, "X-Hub-Signature-256": "sha256=00"}, 401},
		"gitlab":               {secret, "POST", body, map[string]string{"X-Gitlab-Token": secret}, 202},
		"gitlab, wrong":        {secret, "POST", body, map[string]string{"X-Gitlab-Token": secret + "x"}, 401},
		"gitlab, empty":        {secret, "POST", body, map[string]string{"X-Gitlab-Token": ""}, 401},
		"gitlab, signed":       {key, "POST", body, map[string]string{"Webhook-Id": "1", "Webhook-Timestamp": "2", "Webhook-Signature": "v1,AAAA " + standard("1", "2", body), "X-Gitlab-Token": "other"}, 202},
		"gitlab, signed wrong": {key, "POST", body, map[string]string{"Webhook-Id": "2", "Webhook-Timestamp": "2", "Webhook-Signature": standard("1", "2", body), "X-Gitlab-Token": key}, 401},
		"nothing":              {secret, "POST", body, nil, 401},
		"get":                  {secret, "GET", "", map[string]string{"X-Gitlab-Token": secret}, 405},
		"largest":              {secret, "POST", strings.Repeat("x", webhookBody), map[string]string{"X-Gitlab-Token": secret}, 202},
		"too large":            {secret, "POST", strings.Repeat("x", webhookBody+1), map[string]string{"X-Gitlab-Token": secret}, 413},
	} {
		h, hints := hook(t, c.secret)
		if got := deliver(h, c.method, c.body, c.header); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
		if want := map[bool]int{true: 1}[c.want == 202]; *hints != want {
			t.Errorf("%s: %d hints", name, *hints)
		}
	}
}

func TestWebhookNeedsASecret(t *testing.T) {
	t.Parallel()
	for _, secret := range []func() []byte{nil, func() []byte { return nil }} {
		if _, err := NewWebhook(WebhookConfig{Secret: secret, Hint: func() {}}); !errors.Is(err, ErrNoSecret) {
			t.Error(err)
		}
	}
	secret := []byte("x")
	h, err := NewWebhook(WebhookConfig{Secret: func() []byte { return secret }, Hint: func() { t.Error("hint") }})
	if err != nil {
		t.Fatal(err)
	}
	secret = nil // taken away while it runs
	if got := deliver(h, "POST", "", map[string]string{"X-Gitea-Signature": hexMAC("", "")}); got != 503 {
		t.Error(got)
	}
}

func TestWebhookRate(t *testing.T) {
	t.Parallel()
	h, hints := hook(t, "s")
	codes := map[int]int{}
	for range 100 {
		codes[deliver(h, "POST", "", map[string]string{"X-Gitlab-Token": "s"})]++
	}
	if *hints > webhookBurst+5 || codes[429] == 0 || codes[202] != *hints {
		t.Errorf("%d hints, %v", *hints, codes)
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add("POST", "X-Hub-Signature-256", "sha256="+hexMAC("secret", "{}"), "{}")
	f.Add("POST", "X-Gitea-Signature", hexMAC("other", "{}"), "{}")
	f.Add("POST", "X-Gitlab-Token", "secret", "{}")
	f.Add("PUT", "Webhook-Signature", "v1,AAAA", "x")
	f.Fuzz(func(t *testing.T, method, name, value, body string) {
		h, hints := hook(t, "secret")
		r, err := http.NewRequest(method, "/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if (w.Code == 202) != (*hints == 1) {
			t.Fatalf("%d with %d hints", w.Code, *hints)
		}
		if *hints == 0 {
			return
		}
		v := strings.ToLower(r.Header.Get(name))
		if v != "secret" && !strings.HasSuffix(v, hexMAC("secret", body)) {
			t.Errorf("%s: %q was taken for genuine", name, value)
		}
	})
}
