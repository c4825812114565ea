package node

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/hexrdev/hexrd/internal/durable"
)

// A snapshot on the wire: a magic, the keyring, the files of the checkpoint, and
// a SHA-256 of all before it. It travels over mTLS between members only.

const (
	archiveMagic   = "HXSNAP01"
	maxArchiveKeys = 1 << 20
	maxFileName    = 255
	maxFiles       = 1 << 20
)

var errArchive = errors.New("the snapshot stream is not valid")

type archiveFile struct {
	name string
	size int64
}

// checkpointFiles lists a checkpoint's files, which don't change any more.
func checkpointFiles(dir string) ([]archiveFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make([]archiveFile, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s in a checkpoint is not a file", e.Name())
		}
		files = append(files, archiveFile{e.Name(), info.Size()})
	}
	return files, nil
}

// archiveSize is the exact length of the stream.
func archiveSize(keys []byte, files []archiveFile) int64 {
	n := int64(len(archiveMagic) + 4 + len(keys) + 4 + sha256.Size)
	for _, f := range files {
		n += int64(2+len(f.name)+8) + f.size
	}
	return n
}

// writeArchive streams a checkpoint.
func writeArchive(out io.Writer, keys []byte, dir string, files []archiveFile) error {
	sum := sha256.New()
	w := io.MultiWriter(out, sum)
	head := binary.BigEndian.AppendUint32([]byte(archiveMagic), uint32(len(keys)))
	head = append(head, keys...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(files)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, f := range files {
		if err := writeArchiveFile(w, dir, f); err != nil {
			return err
		}
	}
	_, err := out.Write(sum.Sum(nil))
	return err
}

func writeArchiveFile(w io.Writer, dir string, f archiveFile) error {
	head := binary.BigEndian.AppendUint16(nil, uint16(len(f.name)))
	head = append(head, f.name...)
	head = binary.BigEndian.AppendUint64(head, uint64(f.size))
	if _, err := w.Write(head); err != nil {
		return err
	}
	in, err := os.Open(filepath.Join(dir, f.name))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	n, err := io.Copy(w, io.LimitReader(in, f.size))
	if err == nil && n != f.size {
		err = fmt.Errorf("%w: %s is shorter than it was", errArchive, f.name)
	}
	return err
}

// readArchive unpacks a stream into dir, durably; the keyring goes to install
// before any file is written.
func readArchive(in io.Reader, dir string, install func(keys []byte) error) error {
	r := &summed{in, sha256.New()}
	head := make([]byte, len(archiveMagic)+4)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(archiveMagic)]) != archiveMagic {
		return errArchive
	}
	n := binary.BigEndian.Uint32(head[len(archiveMagic):])
	if n > maxArchiveKeys {
		return errArchive
	}
	keys := make([]byte, n+4)
	if _, err := io.ReadFull(r, keys); err != nil {
		return errArchive
	}
	count := binary.BigEndian.Uint32(keys[n:])
	if count > maxFiles {
		return errArchive
	}
	if err := install(keys[:n]); err != nil {
		return err
	}
	clear(keys)
	for range count {
		if err := readArchiveFile(r, dir); err != nil {
			return err
		}
	}
	want := r.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != string(want) {
		return fmt.Errorf("%w: its checksum is wrong", errArchive)
	}
	return durable.SyncDir(dir)
}

func readArchiveFile(r io.Reader, dir string) error {
	var short [2]byte
	if _, err := io.ReadFull(r, short[:]); err != nil {
		return errArchive
	}
	n := int(binary.BigEndian.Uint16(short[:]))
	if n == 0 || n > maxFileName {
		return errArchive
	}
	head := make([]byte, n+8)
	if _, err := io.ReadFull(r, head); err != nil {
		return errArchive
	}
	name := string(head[:n])
	if name != filepath.Base(name) || name == "." || name == ".." {
		return errArchive
	}
	size := int64(binary.BigEndian.Uint64(head[n:]))
	if size < 0 {
		return errArchive
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, r, size)
	return errors.Join(err, f.Sync(), f.Close())
}

// summed hashes what is read.
type summed struct {
	in  io.Reader
	sum hash.Hash
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	s.sum.Write(p[:n])
	return n, err
}
