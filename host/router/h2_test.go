package router

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is a client of HTTP/2 that may do what no client should.
type h2 struct {
	*http2.Framer
	conn     net.Conn
	t        *testing.T
	settings map[http2.SettingID]uint32
}

func (s *stage) h2(t *testing.T) *h2 {
	t.Helper()
	c := s.dial()
	io.WriteString(c, http2.ClientPreface)
	f := &h2{Framer: http2.NewFramer(c, c), conn: c, t: t, settings: map[http2.SettingID]uint32{}}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	first, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	first.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error { f.settings[s.ID] = s.Val; return nil })
	f.WriteSettingsAck()
	return f
}

// ask sends the head of a request: names and values, pseudo headers first.
func (f *h2) ask(stream uint32, end bool, pairs ...string) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block(pairs...), EndHeaders: true, EndStream: end})
}

func block(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

// outcome reads until a stream is answered or ended: with its status, the reason
// of its reset, or that of the connection's end.
func (f *h2) outcome(stream uint32) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return frame.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			return "GOAWAY " + frame.ErrCode.String()
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		}
	}
}

var getWeb = []string{":method", "GET", ":scheme", "http", ":authority", "web.localhost", ":path", "/"}

// TestConnectOverHTTP2IsRefused: WebSocket over HTTP/2 (RFC 8441) is not offered,
// so clients take HTTP/1.1 for it; one that tries is told no, and can go on.
func TestConnectOverHTTP2IsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.serves(s.backend(hello))
	f := s.h2(t)
	if v, offered := f.settings[http2.SettingEnableConnectProtocol]; offered && v != 0 {
		t.Error("it is offered")
	}
	f.ask(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "web.localhost", ":path", "/chat", "sec-websocket-version", "13")
	if got := f.outcome(1); got != "PROTOCOL_ERROR" {
		t.Errorf("extended CONNECT: %s", got)
	}
	f.ask(3, false, ":method", "CONNECT", ":authority", "web.localhost:80")
	if got := f.outcome(3); got != "405" {
		t.Errorf("CONNECT: %s", got)
	}
	f.ask(5, true, getWeb...)
	if got := f.outcome(5); got != "200" {
		t.Errorf("a GET after it: %s", got)
	}
}

// TestHTTP2Floods: resets, heads that never end and settings without end cost one
// client its connection, and others nothing; what they took is given back.
func TestHTTP2Floods(t *testing.T) {
	s := newStage(t)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		hello(w, r)
	}))
	other := s.client()
	get := func() int {
		res, err := other.Get("http://web.localhost/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode
	}
	if code := get(); code != 200 {
		t.Fatal(code)
	}
	before := runtime.NumGoroutine()
	slow := []string{":method", "GET", ":scheme", "http", ":authority", "web.localhost", ":path", "/slow"}
	for name, flood := range map[string]func(f *h2){
		"rapid reset": func(f *h2) {
			for n := range uint32(5_000) {
				if f.ask(2*n+1, true, slow...) != nil || f.WriteRSTStream(2*n+1, http2.ErrCodeCancel) != nil {
					return
				}
			}
		},
		"a head that never ends": func(f *h2) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(getWeb...), EndStream: true})
			for range 100_000 {
				if f.WriteContinuation(1, false, block("x-"+strings.Repeat("a", 100), strings.Repeat("b", 4000))) != nil {
					return
				}
			}
			f.t.Error("a head of 400 MB was read to its end")
		},
		"empty continuations": func(f *h2) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(getWeb...), EndStream: true})
			for range 100_000 {
				if f.WriteContinuation(1, false, nil) != nil {
					return
				}
			}
		},
		"settings": func(f *h2) {
			for range 20_000 {
				if f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}) != nil {
					return
				}
			}
		},
		"more streams than allowed": func(f *h2) {
			for n := range uint32(1000) {
				if f.ask(2*n+1, true, slow...) != nil {
					return
				}
			}
		},
	} {
		f := s.h2(t)
		go io.Copy(io.Discard, f.conn) // what it is told is nothing to it
		done := make(chan struct{})
		f.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		go func() { flood(f); close(done) }()
		for range 20 {
			began := time.Now()
			if code := get(); code != 200 || time.Since(began) > 5*time.Second {
				t.Errorf("%s: another's request: %d in %s", name, code, time.Since(began))
			}
		}
		<-done
		f.conn.Close()
	}
	eventually(t, "all is given back", func() bool { return runtime.NumGoroutine() <= before+5 })
	eventually(t, "nothing is under way", func() bool { n, _ := s.Activity(webA); return n == 0 })
}

// TestWhoLeavesOverHTTP2IsGone: before the answer or in the middle of it, a client
// that goes leaves nothing under way: its instance can be drained and can sleep.
func TestWhoLeavesOverHTTP2IsGone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	arrived := make(chan struct{}, 4)
	s.serves(s.backend(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	f := s.h2(t)
	for i, path := range []string{"/", "/stream"} {
		stream := uint32(2*i + 1)
		f.ask(stream, true, ":method", "GET", ":scheme", "http", ":authority", "web.localhost", ":path", path)
		<-arrived
		if n, _ := s.Activity(webA); n != 1 {
			t.Errorf("%s: %d under way", path, n)
		}
		if path == "/stream" {
			if got := f.outcome(stream); got != "200" {
				t.Errorf("%s: %s", path, got)
			}
		}
		f.WriteRSTStream(stream, http2.ErrCodeCancel)
		eventually(t, path+": nothing is under way", func() bool { n, _ := s.Activity(webA); return n == 0 })
	}
}
