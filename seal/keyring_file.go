package seal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/internal/durable"
	"github.com/hexrdev/hexrd/seal/sealpb"
)

// keyringAD binds a wrapped keyring to its use.
func keyringAD(clusterID []byte) []byte { return append([]byte("hexrd keyring 1 "), clusterID...) }

// SaveKeyring writes the keyring under the wrapper, 0600. A crash leaves the
// old file or the new one; it is durable when SaveKeyring returns.
func SaveKeyring(ctx context.Context, file string, w Wrapper, k *Keyring) error {
	clear, err := k.marshal(true)
	if err != nil {
		return err
	}
	id := k.ClusterID()
	wrapped, err := w.Wrap(ctx, clear, keyringAD(id[:]))
	if err != nil {
		return fmt.Errorf("wrap keyring: %w", err)
	}
	data, err := proto.Marshal(&sealpb.KeyringFile{
		Format: keyringFormat, ClusterId: id[:], Wrapper: w.Name(), Wrapped: wrapped,
	})
	if err != nil {
		return err
	}
	return replaceFile(file, data)
}

// LoadKeyring reads what SaveKeyring wrote. A cluster ID that is not zero must
// be the keyring's (ErrWrongCluster). ErrWrongWrapper when w has another key.
func LoadKeyring(ctx context.Context, file string, w Wrapper, clusterID [16]byte) (*Keyring, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyring {
		return nil, fmt.Errorf("%w: keyring file %s is too large", ErrCorrupt, file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pb, err := decodeKeyringFile(data)
	if err != nil {
		return nil, fmt.Errorf("keyring file %s: %w", file, err)
	}
	if clusterID != [16]byte{} && [16]byte(pb.GetClusterId()) != clusterID {
		return nil, fmt.Errorf("keyring file %s: %w", file, ErrWrongCluster)
	}
	if pb.GetWrapper() != w.Name() {
		return nil, fmt.Errorf("keyring file %s was made with another kind of wrapper: %w", file, ErrWrongWrapper)
	}
	clear, err := w.Unwrap(ctx, pb.GetWrapped(), keyringAD(pb.GetClusterId()))
	if err != nil {
		return nil, fmt.Errorf("unwrap keyring file %s: %w", file, err)
	}
	return ImportKeyring(clear)
}

func decodeKeyringFile(data []byte) (*sealpb.KeyringFile, error) {
	var pb sealpb.KeyringFile
	if err := proto.Unmarshal(data, &pb); err != nil {
		return nil, ErrCorrupt
	}
	if pb.GetFormat() != keyringFormat {
		return nil, ErrFormat
	}
	if len(pb.GetClusterId()) != 16 {
		return nil, ErrCorrupt
	}
	return &pb, nil
}

func replaceFile(file string, data []byte) error {
	dir := filepath.Dir(file)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return durable.SyncDir(dir)
}
