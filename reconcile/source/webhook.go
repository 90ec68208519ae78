package source

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"

	"golang.org/x/time/rate"
)

// WebhookConfig makes a webhook.
type WebhookConfig struct {
	// Secret is shared with the forge; it is asked for at each request, so that it
	// can be replaced. It must not be empty.
	Secret func() []byte
	// Hint is called for each genuine delivery. It must not block.
	Hint func()
}

// Deliveries above the rate are turned away: one is enough to look.
const (
	webhookBody  = 1 << 20
	webhookRate  = 2 // a second
	webhookBurst = 10
)

// ErrNoSecret says that a webhook without a secret was asked for: anybody could
// call it.
var ErrNoSecret = errors.New("a webhook needs a secret")

// NewWebhook serves push notifications of GitHub (X-Hub-Signature-256), Gitea and
// Forgejo (X-Gitea-Signature), Gogs (X-Gogs-Signature) and GitLab (Webhook-Signature, or the plain X-Gitlab-Token).
// A genuine one is a hint to look at the repository and nothing more: no word of
// the payload is used, so a replayed one does no harm either. It answers 202, or
// 401, 405, 413, 429, and 503 while there is no secret.
func NewWebhook(cfg WebhookConfig) (http.Handler, error) {
	if cfg.Secret == nil || len(cfg.Secret()) == 0 {
		return nil, ErrNoSecret
	}
	if cfg.Hint == nil {
		return nil, errors.New("a webhook needs somebody to tell")
	}
	return &webhook{cfg, rate.NewLimiter(webhookRate, webhookBurst), rate.NewLimiter(5*webhookRate, 5*webhookBurst)}, nil
}

type webhook struct {
	cfg     WebhookConfig
	genuine *rate.Limiter
	all     *rate.Limiter // so that strangers can't keep us hashing
}

func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	if !h.all.Allow() {
		tooMany(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, webhookBody))
	if err != nil {
		http.Error(w, "body too large or cut off", http.StatusRequestEntityTooLarge)
		return
	}
	secret := h.cfg.Secret()
	if len(secret) == 0 {
		http.Error(w, "no secret is set", http.StatusServiceUnavailable)
		return
	}
	if !genuine(r.Header, body, secret) {
		http.Error(w, "signature missing or wrong", http.StatusUnauthorized)
		return
	}
	if !h.genuine.Allow() {
		tooMany(w)
		return
	}
	h.cfg.Hint()
	w.WriteHeader(http.StatusAccepted)
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too many deliveries", http.StatusTooManyRequests)
}

// genuine checks whichever signature the forge sends; all that are sent must hold.
// GitLab's plain token counts only where it doesn't sign.
func genuine(header http.Header, body, secret []byte) bool {
	checks := 0
	for name, prefix := range map[string]string{"X-Hub-Signature-256": "sha256=", "X-Gitea-Signature": "", "X-Forgejo-Signature": "", "X-Gogs-Signature": ""} {
		v := header.Get(name)
		if v == "" {
			continue
		}
		checks++
		digest, ok := strings.CutPrefix(v, prefix)
		got, err := hex.DecodeString(digest)
		if !ok || err != nil || !hmac.Equal(got, mac(secret, body)) {
			return false
		}
	}
	if header.Get("Webhook-Signature") != "" {
		checks++
		if !standardWebhook(header, body, secret) {
			return false
		}
	}
	if checks > 0 {
		return true
	}
	v := header.Get("X-Gitlab-Token")
	// Compared as digests, so that not even the length shows in the time taken.
	got, want := sha256.Sum256([]byte(v)), sha256.Sum256(secret)
	return v != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func mac(secret []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, secret)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// standardWebhook checks a signature as the Standard Webhooks specification has
// it, which is GitLab's signing token. Its timestamp is covered but not compared
// with our clock: an old delivery does no harm, a wrong clock would stop them all.
func standardWebhook(header http.Header, body, secret []byte) bool {
	if encoded, ok := bytes.CutPrefix(secret, []byte("whsec_")); ok {
		key, err := base64.StdEncoding.DecodeString(string(encoded))
		if err != nil || len(key) == 0 {
			return false
		}
		secret = key
	}
	want := mac(secret, []byte(header.Get("Webhook-Id")+"."+header.Get("Webhook-Timestamp")+"."), body)
	for v := range strings.FieldsSeq(header.Get("Webhook-Signature")) {
		encoded, ok := strings.CutPrefix(v, "v1,")
		got, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}
