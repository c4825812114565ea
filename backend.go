package hexrd

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hexrdev/hexrd/api"
	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/cluster/clusterpb"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
	"github.com/hexrdev/hexrd/node"
	"github.com/hexrdev/hexrd/seal"
)

const peerTimeout = 2 * time.Second

// backend is this node as the API sees it (api.Backend).
type backend struct{ *Server }

func (b backend) Do(ctx context.Context, accesses []*fsmpb.Access) ([]*fsmpb.Result, uint64, error) {
	results, index, err := b.node.Do(ctx, accesses)
	return results, index, outcome(err)
}

// outcome turns the replica's errors into the API's.
func outcome(err error) error {
	var notLeader *node.NotLeaderError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, node.ErrUnknownOutcome):
		return fmt.Errorf("%w: %w", api.ErrUnknownOutcome, err)
	case errors.Is(err, node.ErrOverloaded):
		return api.ErrOverloaded
	case errors.Is(err, node.ErrStopped):
		return api.ErrStopped
	case errors.Is(err, node.ErrNoLeader), errors.As(err, &notLeader):
		return api.ErrNoLeader
	default:
		return err
	}
}

func (b backend) Store() *fsm.Store   { return b.node.Store() }
func (b backend) Keys() *seal.Keyring { return b.keys.ring }
func (b backend) NodeID() string      { return b.nodeID }

func (b backend) Healthy() (bool, string) { return b.healthy() }

// healthy: the node serves, knows a leader, and holds a bootstrapped store.
func (s *Server) healthy() (bool, string) {
	if s.node == nil {
		return false, "starting"
	}
	if err := s.node.Err(); err != nil {
		return false, "failed"
	}
	if leader, _ := s.node.Leader(); leader == "" {
		return false, "no leader"
	}
	if !s.node.Store().Ready() {
		return false, "waiting for the cluster's state"
	}
	if !s.member() {
		return false, "not a member yet"
	}
	return true, ""
}

func (s *Server) member() bool {
	for _, srv := range s.node.Store().Configuration().GetServers() {
		if srv.GetId() == s.nodeID {
			return srv.GetVoter()
		}
	}
	return false
}

func (b backend) Status(context.Context) (*hexrv1.StatusResponse, error) {
	st, store := b.node.Status(), b.node.Store()
	id := b.clusterID()
	free, total := diskSpace(b.cfg.DataDir)
	ready, _ := b.healthy()
	return &hexrv1.StatusResponse{
		ClusterId: hex.EncodeToString(id[:]), Node: b.nodeID, Role: st.Role, Leader: st.LeaderID, Term: st.Term,
		LastIndex: st.LastIndex, Applied: store.AppliedIndex(), Time: timestamppb.New(time.Unix(0, store.Time())),
		AuditSize: store.AuditSize(), Version: b.cfg.Version, Ready: ready, LogStore: st.LogStore,
		DiskFreeBytes: free, DiskTotalBytes: total, Disk: space(b.disks.own.Load()).String(),
	}, nil
}

// Members asks every member where it stands; who does not answer in time is
// unreachable. It needs no quorum.
func (b backend) Members(ctx context.Context) (*hexrv1.MembersResponse, error) {
	statuses := b.statuses(ctx)
	leaderID, _ := b.node.Leader()
	resp := &hexrv1.MembersResponse{Leader: leaderID}
	var newest uint64
	for _, s := range statuses {
		newest = max(newest, s.status.GetApplied())
	}
	answering := uint32(0)
	for _, s := range statuses {
		m := &hexrv1.Member{Id: s.id, Address: s.address, Suffrage: "nonvoter", State: "unreachable"}
		if s.voter {
			m.Suffrage = "voter"
			resp.Voters++
		}
		if s.status != nil {
			m.State, m.Applied, m.Version = s.status.GetRole(), s.status.GetApplied(), s.status.GetVersion()
			m.Lag, m.Disk = newest-m.Applied, space(s.status.GetDisk()).String()
			if s.voter {
				answering++
			}
		}
		resp.Members = append(resp.Members, m)
	}
	if quorum := resp.Voters/2 + 1; answering > quorum {
		resp.FailuresBorne = answering - quorum
	}
	return resp, nil
}

type memberStatus struct {
	id, address string
	voter       bool
	status      *clusterpb.StatusResponse // nil: no answer
}

// each runs do for every server of the configuration at the same time.
func (b backend) each(ctx context.Context, do func(ctx context.Context, i int, srv *fsmpb.Server)) []*fsmpb.Server {
	servers := b.node.Store().Configuration().GetServers()
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			do(ctx, i, srv)
		}()
	}
	wg.Wait()
	return servers
}

func (b backend) statuses(ctx context.Context) []memberStatus {
	all := make([]memberStatus, len(b.node.Store().Configuration().GetServers()))
	servers := b.each(ctx, func(ctx context.Context, i int, srv *fsmpb.Server) {
		if i >= len(all) { // the configuration grew in between: the next call shows it
			return
		}
		all[i] = memberStatus{id: srv.GetId(), address: srv.GetAddress(), voter: srv.GetVoter()}
		var err error
		if srv.GetId() == b.nodeID {
			all[i].status, err = replica(b).Status(ctx, "")
		} else {
			all[i].status, err = b.peers.Status(ctx, srv.GetId(), srv.GetAddress(), "")
		}
		if err != nil {
			all[i].status = nil
		}
	})
	return all[:min(len(all), len(servers))]
}

// Roots asks every member for the root of its audit tree at each size.
func (b backend) Roots(ctx context.Context, sizes []uint64) []*hexrv1.NodeRoot {
	var (
		mu    sync.Mutex
		roots []*hexrv1.NodeRoot
	)
	for _, size := range sizes {
		b.each(ctx, func(ctx context.Context, _ int, srv *fsmpb.Server) {
			r := &hexrv1.NodeRoot{Node: srv.GetId(), Size: size}
			root, err := b.rootOf(ctx, srv, size)
			if err != nil {
				r.Error = "the node did not give its root"
			}
			r.Root = bytes.Clone(root)
			mu.Lock()
			defer mu.Unlock()
			roots = append(roots, r)
		})
	}
	return roots
}

// rootOf waits for a member that is some entries behind.
func (b backend) rootOf(ctx context.Context, srv *fsmpb.Server, size uint64) ([]byte, error) {
	if srv.GetId() == b.nodeID {
		return replica(b).Root(ctx, size)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		root, err := b.peers.Root(ctx, srv.GetId(), srv.GetAddress(), size)
		if err == nil {
			return root, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (b backend) RemoveMember(ctx context.Context, id string) error { return b.removeMember(ctx, id) }

func (b backend) Transfer(ctx context.Context, id string) (string, error) { return b.transfer(ctx, id) }
