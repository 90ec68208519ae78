package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// The git and ssh transports of go-git dial and read without a context, so a hung
// server would hang the host. Here the messages are go-git's and the connection
// is ours: it dies with the context.

// maxRefs bounds what a server may say before a fetch.
const maxRefs = 64 << 20

// stream is one open git-upload-pack at a server.
type stream struct {
	conn  net.Conn // gets a deadline when the context ends
	in    io.Writer
	out   io.Reader
	done  func()
	fault func(error) error // makes sense of an error, with what the server said on the side

	adv  *packp.AdvRefs
	list *refs
}

// bound makes every read and write of the connection fail when ctx ends, until
// the returned function is called.
func bound(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// advertise reads what the server has.
func (s *stream) advertise(ctx context.Context) error {
	defer bound(ctx, s.conn)()
	s.adv = packp.NewAdvRefs()
	err := s.adv.Decode(io.LimitReader(s.out, maxRefs))
	if err != nil && !errors.Is(err, packp.ErrEmptyAdvRefs) {
		return endOf(ctx, s.fault(err))
	}
	s.list = toRefs(s.adv)
	return nil
}

// endOf prefers the reason for which a connection was cut.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func toRefs(adv *packp.AdvRefs) *refs {
	r := &refs{heads: map[string]plumbing.Hash{}, shallow: adv.Shallows}
	for name, id := range adv.References {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			r.heads[branch] = id
		}
	}
	for _, sym := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(sym, "HEAD:refs/heads/"); ok {
			r.head = target
		}
	}
	if r.head == "" && adv.Head != nil { // a server too old to say
		for _, guess := range []string{"main", "master"} {
			if r.heads[guess] == *adv.Head && r.head == "" {
				r.head = guess
			}
		}
	}
	return r
}

func (s *stream) refs() *refs { return s.list }

func (s *stream) fetch(ctx context.Context, want request, sink func(io.Reader) error) error {
	defer bound(ctx, s.conn)()
	req := packRequest(s.adv, want)
	if err := s.ask(req); err != nil {
		return endOf(ctx, s.fault(err))
	}
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(io.NopCloser(s.out)); err != nil {
		return endOf(ctx, s.fault(err))
	}
	if err := sink(packStream(req, resp)); err != nil {
		return endOf(ctx, err)
	}
	return nil
}

func (s *stream) ask(req *packp.UploadPackRequest) error {
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return err
	}
	if err := req.UploadHaves.Encode(s.in, false); err != nil {
		return err
	}
	return pktline.NewEncoder(s.in).EncodeString("done\n")
}

func (s *stream) close() {
	_ = s.conn.SetDeadline(time.Now().Add(time.Second))
	_ = pktline.NewEncoder(s.in).Flush() // politely, if nothing was asked for
	s.done()
}

// packRequest asks for whole objects only: a thin pack, with deltas against what
// is here, can't be checked by itself.
func packRequest(adv *packp.AdvRefs, want request) *packp.UploadPackRequest {
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	if adv.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress)
	}
	req.Wants = want.wants
	req.Haves = want.haves
	return req
}

func packStream(req *packp.UploadPackRequest, resp io.Reader) io.Reader {
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, resp)
	case req.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, resp)
	}
	return resp
}

// daemon is a remote that speaks git:// : no encryption, no credentials.
type daemon struct{ at *location }

func (d *daemon) connect(ctx context.Context) (session, error) {
	var dial net.Dialer
	conn, err := dial.DialContext(ctx, "tcp", d.at.host)
	if err != nil {
		return nil, endOf(ctx, err)
	}
	s := &stream{conn: conn, in: conn, out: conn, done: func() { conn.Close() }, fault: serverFault}
	hello := packp.GitProtoRequest{RequestCommand: transport.UploadPackServiceName, Pathname: d.at.path, Host: d.at.host}
	stop := bound(ctx, conn)
	err = endOf(ctx, hello.Encode(conn))
	stop()
	if err == nil {
		err = s.advertise(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// serverFault tells what a server says of the repository from a broken line.
func serverFault(err error) error {
	var said *pktline.ErrorLine
	if errors.As(err, &said) {
		return &FetchError{Class: ClassConfig, Err: fmt.Errorf("the server says: %s", oneLine(said.Text)),
			Hint: "check the URL, and that the server exports this repository"}
	}
	if errors.Is(err, packp.ErrEmptyInput) {
		return &FetchError{Class: ClassNetwork, Err: errors.New("the server closed the connection"),
			Hint: "check the URL and the server's log"}
	}
	return err
}

// oneLine makes what a server said fit for a status line.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ' ' }), " ")
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}
