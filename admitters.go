package hexrd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/internal/durable"
)

const (
	admittersFile   = "admitters"
	admittersFormat = 1
)

// keepAdmitters remembers who admitted this node. It lets their raft streams in
// until a configuration has reached it, also where it was killed before that.
func (s *Server) keepAdmitters(members []*clusterpb.Member) error {
	data, err := proto.Marshal(&clusterpb.Admitters{Format: admittersFormat, Members: members})
	if err == nil {
		err = durable.WriteFile(s.admittersPath(), data)
	}
	if err != nil {
		return fmt.Errorf("keep who admitted this node: %w", err)
	}
	s.admission.learn(members)
	return nil
}

// recallAdmitters reads what an earlier process kept.
func (s *Server) recallAdmitters() error {
	data, err := os.ReadFile(s.admittersPath())
	if errors.Is(err, fs.ErrNotExist) { // it bootstrapped
		return nil
	}
	var kept clusterpb.Admitters
	switch {
	case err != nil:
		return fmt.Errorf("recall who admitted this node: %w", err)
	case proto.Unmarshal(data, &kept) != nil:
		return fmt.Errorf("%s can't be read: remove it; where the node had not finished to join, `hexrd join` it anew", s.admittersPath())
	case kept.GetFormat() != admittersFormat:
		return fmt.Errorf("format %d of %s is unknown: run a newer hexrd", kept.GetFormat(), s.admittersPath())
	}
	s.admission.learn(kept.GetMembers())
	for _, m := range kept.GetMembers() {
		s.admitters = append(s.admitters, m.GetAddress())
	}
	return nil
}

func (s *Server) admittersPath() string { return filepath.Join(s.cfg.DataDir, admittersFile) }
