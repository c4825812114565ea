package api

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/audit"
	"github.com/hexrdev/hexrd/fsm"
	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

// auditQuery has a row itself; what it may show ends before that row.
func (s *Server) auditQuery(ctx context.Context, req *hexrv1.QueryRequest) (*hexrv1.QueryResponse, error) {
	c := callOf(ctx)
	q, err := rowQuery(req)
	if err != nil {
		return nil, err
	}
	place := "audit\x00" + c.caller.ID + "\x00" + req.GetCaller() + "\x00" + req.GetPath() + "\x00" + req.GetOutcome() + "\x00" + req.GetOperation()
	cursor, err := s.openToken(place, req.GetCursor())
	if err != nil {
		return nil, err
	}
	if cursor != "" {
		if q.From, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, invalid("cursor")
		}
	}
	r, index, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_AuditQuery{AuditQuery: &fsmpb.AuditQuery{Caller: req.GetCaller(), Path: req.GetPath()}},
	}))
	if err != nil {
		return nil, err
	}
	store := s.backend.Store()
	if err := store.WaitApplied(ctx, index); err != nil {
		return nil, err
	}
	settings := store.Settings()
	q.Caller, q.Size = r.GetAuditGrant().GetCaller(), r.GetAuditGrant().GetSize()
	q.Limit, q.ScanMax = pageSize(req.GetPageSize(), settings.GetAuditRowsMax()), int(settings.GetAuditScanMax())
	page, err := store.QueryRows(ctx, q)
	if err != nil {
		return nil, err
	}
	resp := &hexrv1.QueryResponse{}
	if resp.Rows, err = auditRows(page.Rows); err != nil {
		return nil, err
	}
	if !page.Done {
		resp.NextCursor, err = s.sealToken(place, strconv.FormatUint(page.Next, 10))
	}
	return resp, err
}

func rowQuery(req *hexrv1.QueryRequest) (q fsm.RowQuery, err error) {
	if req.GetOutcome() != "" {
		if q.Outcome, err = audit.ParseOutcome(req.GetOutcome()); err != nil {
			return q, invalid(err.Error())
		}
	}
	if req.GetOperation() != "" {
		if q.Operation, err = audit.ParseOperation(req.GetOperation()); err != nil {
			return q, invalid(err.Error())
		}
	}
	q.Path = req.GetPath()
	if req.GetSince() != nil {
		q.Since = req.GetSince().AsTime().UnixNano()
	}
	if req.GetUntil() != nil {
		q.Until = req.GetUntil().AsTime().UnixNano()
	}
	return q, nil
}

func auditRows(encoded [][]byte) ([]*hexrv1.AuditRow, error) {
	rows := make([]*hexrv1.AuditRow, 0, len(encoded))
	for _, e := range encoded {
		r, err := audit.DecodeRow(e)
		if err != nil {
			return nil, err
		}
		leaf := audit.LeafHash(e)
		row := &hexrv1.AuditRow{
			Index: r.Index, Time: timestamppb.New(time.Unix(0, r.Time)), Node: r.Node, Caller: r.Caller, Svid: r.SVID.String(),
			Operation: r.Operation.String(), Path: r.Path, Scope: r.Scope, Outcome: r.Outcome.String(), Version: r.Version,
			Peer: r.Peer, RequestId: hex.EncodeToString(r.RequestID[:]), Detail: r.Detail, LeafHash: hex.EncodeToString(leaf[:]),
		}
		if r.TraceID != [16]byte{} {
			row.TraceId = hex.EncodeToString(r.TraceID[:])
		}
		rows = append(rows, row)
	}
	return rows, nil
}

const (
	tailPage = 256
	// recheckEvery bounds how long a silent stream outlives its caller's token.
	recheckEvery = 2 * time.Second
)

// auditTail is decided once; then every row is shown as it is appended, as long
// as the caller is who it was: its SVID has not ended, and it is not blocked.
func (s *Server) auditTail(ctx context.Context, req *hexrv1.TailRequest, send func(*hexrv1.TailResponse) error) error {
	c := callOf(ctx)
	r, index, err := s.decide(ctx, s.access(c, &fsmpb.Access{
		Op: &fsmpb.Access_AuditTail{AuditTail: &fsmpb.AuditTail{Caller: req.GetCaller()}},
	}))
	if err != nil {
		return err
	}
	store := s.backend.Store()
	if err := store.WaitApplied(ctx, index); err != nil {
		return err
	}
	from := r.GetRow() + 1
	if req.From != nil {
		from = req.GetFrom()
	}
	end, again := time.NewTimer(time.Until(c.peer.NotAfter)), time.NewTicker(recheckEvery)
	defer end.Stop()
	defer again.Stop()
	for {
		added, changed := store.RowsAdded(), store.Changed()
		if err := s.stillAdmitted(c); err != nil {
			return err
		}
		page, err := store.QueryRows(ctx, fsm.RowQuery{
			Caller: r.GetAuditGrant().GetCaller(), From: from, Size: store.AuditSize(), Limit: tailPage, ScanMax: 64 * tailPage,
		})
		if err != nil {
			return err
		}
		if from = page.Next; len(page.Rows) > 0 {
			rows, err := auditRows(page.Rows)
			if err != nil {
				return err
			}
			if err := send(&hexrv1.TailResponse{Rows: rows}); err != nil {
				return err
			}
		}
		if !page.Done {
			continue
		}
		select {
		case <-added:
		case <-changed:
		case <-again.C:
		case <-end.C:
			return errExpired
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const chunkRows = 500

// auditVerify gives an auditor the roots that all nodes hold, and every row that
// they are over. The caller recomputes: this node is not believed.
func (s *Server) auditVerify(ctx context.Context, req *hexrv1.VerifyRequest, send func(*hexrv1.VerifyResponse) error) error {
	c := callOf(ctx)
	r, index, err := s.decide(ctx, s.access(c, &fsmpb.Access{Op: &fsmpb.Access_AuditVerify{AuditVerify: &fsmpb.AuditVerify{}}}))
	if err != nil {
		return err
	}
	store := s.backend.Store()
	if err := store.WaitApplied(ctx, index); err != nil {
		return err
	}
	size, cluster := r.GetRow()+1, store.ClusterID()
	sizes := []uint64{size}
	for _, n := range req.GetSizes() {
		if n > 0 && n < size {
			sizes = append(sizes, n)
		}
	}
	header := &hexrv1.VerifyHeader{
		ClusterId: cluster[:], Size: size, RaftIndex: index, Roots: s.backend.Roots(ctx, sizes), Members: memberKeys(store.Members()),
	}
	if err := send(&hexrv1.VerifyResponse{Part: &hexrv1.VerifyResponse_Header{Header: header}}); err != nil {
		return err
	}
	for from := uint64(0); from < size; {
		if err := s.stillAdmitted(c); err != nil {
			return err
		}
		rows, err := store.Rows(ctx, from, int(min(chunkRows, size-from)))
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return errCorrupt
		}
		chunk := &hexrv1.RowChunk{First: from, Rows: rows}
		if err := send(&hexrv1.VerifyResponse{Part: &hexrv1.VerifyResponse_Rows{Rows: chunk}}); err != nil {
			return err
		}
		from += uint64(len(rows))
	}
	return nil
}

func memberKeys(members []*fsmpb.Member) []*hexrv1.MemberKey {
	out := make([]*hexrv1.MemberKey, 0, len(members))
	for _, m := range members {
		k := &hexrv1.MemberKey{Node: m.GetId(), AuditKey: m.GetAuditKey(), JoinedRow: m.GetJoinedRow()}
		if m.GetRemoved() {
			removed := m.GetRemovedRow()
			k.RemovedRow = &removed
		}
		out = append(out, k)
	}
	return out
}

// checkpoint is of the tree as the access's own entry left it.
func (s *Server) checkpoint(ctx context.Context, _ *hexrv1.CheckpointRequest) (*hexrv1.CheckpointResponse, error) {
	_, index, err := s.decide(ctx, s.access(callOf(ctx), &fsmpb.Access{
		Op: &fsmpb.Access_AuditCheckpoint{AuditCheckpoint: &fsmpb.AuditCheckpoint{}},
	}))
	if err != nil {
		return nil, err
	}
	if err := s.backend.Store().WaitApplied(ctx, index); err != nil {
		return nil, err
	}
	return s.backend.Checkpoint(ctx, index)
}
