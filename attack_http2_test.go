package hexrd_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
)

var http2Attacks = []row{
	{"http2-by-the-back-door", "the HTTP/2 preface and `Upgrade: h2c` on a connection that is HTTP/1.1", "no switch of protocols", (*attack).upgrade},
	{"http2-rapid-reset", "20,000 calls that are reset at once", "others are answered meanwhile", (*attack).rapidReset},
	{"http2-continuation", "headers that never end", "the connection is closed", (*attack).continuation},
	{"http2-metadata", "40 KiB of metadata; a window that overflows, data on no stream, a frame too large, a stream of the server's, a broken block of headers", "the call is refused, or the connection closed", (*attack).metadata},
	{"http2-ping", "pings without end", "the connection is closed", (*attack).pings},
	{"oversized-protobuf", "a message of 17 MiB, one that says it has 4 GiB, values above the limit, bytes that are no message, without an identity too",
		"ResourceExhausted, InvalidArgument, Internal; Unauthenticated before a byte of it is read", (*attack).oversizedProtobuf},
}

// h2 is an HTTP/2 client that does what a good one does not.
type h2 struct {
	a    *attack
	conn io.ReadWriter
	f    *http2.Framer
	buf  bytes.Buffer
	enc  *hpack.Encoder
}

func (a *attack) h2(as string) *h2 {
	a.t.Helper()
	conn, err := a.dial(a.config(a.as(as), "h2"))
	if err != nil {
		a.t.Fatal(err)
	}
	p := &h2{a: a, conn: conn, f: http2.NewFramer(conn, conn)}
	p.enc = hpack.NewEncoder(&p.buf)
	p.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		a.t.Fatal(err)
	}
	if err := p.f.WriteSettings(); err != nil {
		a.t.Fatal(err)
	}
	return p
}

func (p *h2) block(path string, more ...string) []byte {
	p.buf.Reset()
	fields := append([]string{":method", "POST", ":scheme", "https", ":path", path, ":authority", "hexrd", "content-type", "application/grpc", "te", "trailers"}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.buf.Bytes())
}

func (p *h2) headers(stream uint32, path string, end bool, more ...string) {
	_ = p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.block(path, more...), EndHeaders: true, EndStream: end})
}

func (p *h2) data(stream uint32, data []byte, end bool) { _ = p.f.WriteData(stream, end, data) }

// status reads until a stream has its grpc-status; empty: the connection ended.
func (p *h2) status(stream uint32) string {
	for {
		f, err := p.f.ReadFrame()
		if err != nil {
			return ""
		}
		h, ok := f.(*http2.MetaHeadersFrame)
		if !ok || h.StreamID != stream {
			continue
		}
		for _, field := range h.Fields {
			if field.Name == "grpc-status" {
				return field.Value
			}
			if field.Name == "grpc-message" {
				p.a.note(field.Value)
			}
		}
	}
}

// closed reads until the other side has closed the connection.
func (p *h2) closed(what string) {
	p.a.t.Helper()
	if _, err := io.Copy(io.Discard, p.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		p.a.t.Errorf("%s: the connection is open", what)
	}
}

func (a *attack) upgrade() {
	got := a.ask(victim, "GET", "/v1/whoami", "", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
	a.want("an upgrade", got, 200, "acme/bot")
	got = a.send(a.as(victim), http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if got.status != 0 && (got.status < 400 || got.status >= 500) && got.status != 505 {
		a.t.Errorf("the preface: %s", got)
	}
}

func (a *attack) rapidReset() {
	p := a.h2(thief)
	go func() { _, _ = io.Copy(io.Discard, p.conn) }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range uint32(20_000) {
			p.headers(2*i+1, hexrv1.Vault_Get_FullMethodName, false)
			if p.f.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
				return // it was closed: good
			}
		}
	}()
	vault, answered := hexrv1.NewVaultClient(a.grpc(a.as(victim))), 0
	for running := true; running; answered++ {
		select {
		case <-done:
			running = false
		default:
		}
		if _, err := vault.Get(a.t.Context(), &hexrv1.GetRequest{Path: canaryPath}); err != nil {
			a.t.Fatalf("another caller meanwhile: %v", err)
		}
	}
	a.t.Logf("%d answers to another caller meanwhile", answered)
}

func (a *attack) continuation() {
	p := a.h2(thief)
	_ = p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.block(hexrv1.Vault_Get_FullMethodName)})
	go func() {
		for range 1 << 20 {
			p.buf.Reset()
			_ = p.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 1000), Sensitive: true})
			if p.f.WriteContinuation(1, false, p.buf.Bytes()) != nil {
				return
			}
		}
	}()
	p.closed("headers without end")
}

func (a *attack) metadata() {
	p := a.h2(thief)
	block := p.block(hexrv1.Vault_Get_FullMethodName, "x-long", strings.Repeat("a", 40<<10))
	_ = p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]})
	_ = p.f.WriteContinuation(1, false, block[16<<10:24<<10])
	_ = p.f.WriteContinuation(1, true, block[24<<10:])
	for ended := false; !ended; {
		switch f, err := p.f.ReadFrame(); f := f.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			ended = true
		case *http2.MetaHeadersFrame:
			if f.PseudoValue("status") == "200" && !f.StreamEnded() {
				a.t.Error("40 KiB of metadata: it is answered")
			}
			ended = true
		default:
			ended = err != nil
		}
	}
	for name, do := range map[string]func(*h2){
		"a window that overflows": func(p *h2) {
			_ = p.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		},
		"data on no stream": func(p *h2) { _ = p.f.WriteRawFrame(http2.FrameData, 0, 0, []byte("x")) },
		"a frame too large": func(p *h2) { _ = p.f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20)) },
		"an even stream":    func(p *h2) { p.headers(2, hexrv1.Vault_Get_FullMethodName, true) },
		"a bad block": func(p *h2) {
			_ = p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: bytes.Repeat([]byte{0xff}, 64), EndHeaders: true})
		},
	} {
		p := a.h2(thief)
		do(p)
		p.closed(name)
	}
}

func (a *attack) pings() {
	p := a.h2(thief)
	go func() {
		for range 1 << 20 {
			if p.f.WritePing(false, [8]byte{}) != nil {
				return
			}
		}
	}()
	p.closed("pings without end")
}

func (a *attack) oversizedProtobuf() {
	big := make([]byte, 17<<20)
	code := func(as string, value []byte) codes.Code {
		conn := a.grpc(a.as(as), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
		_, err := hexrv1.NewVaultClient(conn).Put(a.t.Context(), &hexrv1.PutRequest{Path: "big", Value: value})
		a.note(status.Convert(err).Message())
		return status.Code(err)
	}
	for _, c := range []struct {
		name string
		as   string
		size int
		want codes.Code
	}{
		{"17 MiB", victim, len(big), codes.ResourceExhausted}, {"2 MiB", victim, 2 << 20, codes.ResourceExhausted}, {"1.1 MiB", victim, 11 << 20 / 10, codes.InvalidArgument},
		{"above the setting", victim, 70_000, codes.InvalidArgument}, {"by nobody", "", len(big), codes.Unauthenticated},
	} {
		if got := code(c.as, big[:c.size]); got != c.want {
			a.t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for name, message := range map[string]struct {
		bytes []byte
		want  codes.Code
	}{
		"4 GiB announced": {[]byte{0, 0xff, 0xff, 0xff, 0xff, 1}, codes.ResourceExhausted},
		"no message":      {[]byte{0, 0, 0, 0, 3, 0xff, 0xff, 0xff}, codes.Internal},
		"a field cut off": {[]byte{0, 0, 0, 0, 3, 0x0a, 0x7f, 'a'}, codes.Internal},
		"a length of -1":  {append([]byte{0, 0, 0, 0, 11, 0x0a}, bytes.Repeat([]byte{0xff}, 10)...), codes.Internal},
	} {
		p := a.h2(victim)
		p.headers(1, hexrv1.Vault_Get_FullMethodName, false)
		p.data(1, message.bytes, true)
		if got := p.status(1); got != strconv.Itoa(int(message.want)) {
			a.t.Errorf("%s: status %s, want %d", name, got, message.want)
		}
	}
	p, begin := a.h2(""), time.Now()
	p.headers(1, hexrv1.Vault_Put_FullMethodName, false)
	if got := p.status(1); got != "16" {
		a.t.Errorf("a call of nobody without its message: status %q after %s", got, time.Since(begin))
	}
}
