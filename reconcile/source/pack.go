package source

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// storePack writes a pack as it arrives, checks it, indexes it and makes it part
// of the store: on an error, or when ctx ends, nothing of it stays. The pack is
// on disk for good before it can be found, pack before index as git does it.
func (o *objects) storePack(ctx context.Context, r io.Reader) error {
	dir := filepath.Join(o.dirs[0], "pack")
	tmp, err := os.CreateTemp(dir, "tmp_pack_")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	in := &limited{ctx: ctx, r: r, left: o.limits.PackBytes, limit: o.limits.PackBytes}
	if n, err := io.Copy(tmp, in); err != nil || n == 0 {
		return err
	}
	if err := o.scanPack(ctx, tmp); err != nil {
		return err
	}
	idx, err := indexPack(ctx, tmp)
	if err != nil {
		return err
	}
	if err := checkPack(tmp, idx, true); err != nil {
		return corrupt("bad pack", err)
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	base := filepath.Join(dir, fmt.Sprintf("pack-%x", idx.PackfileChecksum))
	if err := os.Rename(tmp.Name(), base+".pack"); err != nil {
		return err
	}
	if err := writeIndex(dir, base+".idx", idx); err != nil {
		os.Remove(base + ".pack")
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known[base+".idx"] {
		return nil
	}
	return o.addPack(base, idx)
}

func writeIndex(dir, name string, idx *idxfile.MemoryIndex) error {
	var b bytes.Buffer
	if _, err := idxfile.NewEncoder(&b).Encode(idx); err != nil {
		return err
	}
	return replaceFile(dir, name, b.Bytes())
}

// replaceFile puts name in place whole and durable.
func replaceFile(dir, name string, content []byte) error {
	tmp, err := os.CreateTemp(dir, "tmp_file_")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// limited stops a reader at a size and at the end of its context.
type limited struct {
	ctx   context.Context
	r     io.Reader
	left  int64
	limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, context.Cause(l.ctx)
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("pack of more than %d bytes: %w", l.limit, ErrTooBig)
	}
	return n, err
}

// seekable ends go-git's indexing, which takes no context, with ctx.
type seekable struct {
	ctx context.Context
	*os.File
}

func (s seekable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.File.Read(p)
}

// scanPack reads the headers of every object before go-git does: its indexer
// holds whole objects in memory, so one file of zeros could take all of it.
func (o *objects) scanPack(ctx context.Context, f *os.File) (err error) {
	defer recoverPack(&err)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	s := packfile.NewScanner(seekable{ctx, f})
	_, count, err := s.Header()
	if err != nil {
		return badPack(ctx, err)
	}
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return badPack(ctx, err)
		}
		if h.Length > o.limits.ObjectBytes {
			return fmt.Errorf("an object of %d bytes: %w of %d", h.Length, ErrTooBig, o.limits.ObjectBytes)
		}
		var head prefix
		if _, _, err := s.NextObject(&head); err != nil {
			return badPack(ctx, err)
		}
		if size := head.target(); h.Type.IsDelta() && size > o.limits.ObjectBytes {
			return fmt.Errorf("an object of %d bytes: %w of %d", size, ErrTooBig, o.limits.ObjectBytes)
		}
	}
	return nil
}

func indexPack(ctx context.Context, f *os.File) (idx *idxfile.MemoryIndex, err error) {
	defer recoverPack(&err)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	w := &idxfile.Writer{}
	p, err := packfile.NewParser(packfile.NewScanner(seekable{ctx, f}), w)
	if err != nil {
		return nil, badPack(ctx, err)
	}
	if _, err := p.Parse(); err != nil {
		return nil, badPack(ctx, err)
	}
	if idx, err = w.Index(); err != nil {
		return nil, badPack(ctx, err)
	}
	return idx, nil
}

func recoverPack(err *error) {
	if r := recover(); r != nil {
		*err = corrupt("bad pack", fmt.Errorf("%v", r))
	}
}

// badPack tells damage from a deadline that ran out meanwhile.
func badPack(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return corrupt("bad pack", err)
}

// prefix keeps the first bytes written to it: a delta begins with the length of
// its base and of its result.
type prefix struct {
	b [20]byte
	n int
}

func (p *prefix) Write(b []byte) (int, error) {
	p.n += copy(p.b[p.n:], b)
	return len(b), nil
}

func (p *prefix) target() int64 {
	_, n := binary.Uvarint(p.b[:p.n])
	if n <= 0 {
		return 0
	}
	size, n := binary.Uvarint(p.b[n:p.n])
	if n <= 0 || size > 1<<62 {
		return 1 << 62
	}
	return int64(size)
}

// writePack writes the objects of list as a pack, unpacked one at a time.
func writePack(w io.Writer, from *objects, list []plumbing.Hash) error {
	sum := sha1.New()
	out := io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(list)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	z, err := zlib.NewWriterLevel(out, zlib.BestSpeed) // a push waits for it, and the mirror is but a cache
	if err != nil {
		return err
	}
	for _, h := range list {
		obj, err := from.object(plumbing.AnyObject, h)
		if err != nil {
			return err
		}
		b, err := objectBytes(obj)
		if err != nil {
			return err
		}
		if _, err := out.Write(packHeader(obj.Type(), len(b))); err != nil {
			return err
		}
		z.Reset(out)
		if _, err := z.Write(b); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// packHeader is an object's type and size in the pack format: 3 bits of type and
// 4 of size in the first byte, then 7 bits of size each.
func packHeader(t plumbing.ObjectType, size int) []byte {
	b := []byte{byte(t)<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		b[len(b)-1] |= 0x80
		b = append(b, byte(size&0x7f))
	}
	return b
}
