package fsm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hexrdev/hexrd/fsm/fsmpb"
)

const maxListLooks = 20_000

// ListQuery is a listing that a ListGrant allows.
type ListQuery struct {
	Scopes         []string // of the grant
	Prefix         string
	After          string // Next of the page before
	Limit          int
	IncludeDeleted bool
	Overdue        bool // only those whose rotation is overdue
}

// ListPage is a page of metadata in the order of path, then scope; never values.
// An empty Next ends the listing.
type ListPage struct {
	Secrets []*fsmpb.Secret
	Next    string
}

// position is a place in a listing: a path and the number of its scope.
type position struct {
	path  string
	scope int
}

func (p position) compare(o position) int {
	return cmp.Or(strings.Compare(p.path, o.path), cmp.Compare(p.scope, o.scope))
}

func (p position) String() string { return strconv.Itoa(p.scope) + ":" + p.path }

func parsePosition(s string) (position, error) {
	if s == "" {
		return position{"", -1}, nil
	}
	scope, path, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(scope)
	if !ok || err != nil {
		return position{}, fmt.Errorf("%w: page token", ErrInvalidAccess)
	}
	return position{path, n}, nil
}

// List reads one page from a snapshot of the store.
func (s *Store) List(ctx context.Context, q ListQuery) (ListPage, error) {
	after, err := parsePosition(q.After)
	if err != nil {
		return ListPage{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ListPage{}, ErrClosed
	}
	snapshot := s.db.NewSnapshot()
	defer func() { _ = snapshot.Close() }()
	l := lister{reader{snapshot, s.codec}, s, q}
	var page ListPage
	for looks := 0; ; {
		places, err := l.next(after, q.Limit+1)
		if err != nil {
			return ListPage{}, err
		}
		for _, p := range places {
			if len(page.Secrets) == q.Limit || looks >= maxListLooks {
				page.Next = after.String()
				return page, nil
			}
			after = p
			looks++
			secret, err := l.secret(p)
			if err != nil {
				return ListPage{}, err
			}
			if secret != nil {
				page.Secrets = append(page.Secrets, secret)
			}
		}
		if len(places) <= q.Limit || ctx.Err() != nil {
			return page, ctx.Err()
		}
	}
}

type lister struct {
	r reader
	s *Store
	q ListQuery
}

// next returns up to limit places after a place, over all scopes.
func (l lister) next(after position, limit int) ([]position, error) {
	var places []position
	for i, scope := range l.q.Scopes {
		from := after.path
		inclusive := i > after.scope
		if from < l.q.Prefix {
			from, inclusive = l.q.Prefix, true
		}
		paths, err := l.paths(scope, from, inclusive, limit)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			places = append(places, position{p, i})
		}
	}
	slices.SortFunc(places, position.compare)
	return places[:min(len(places), limit)], nil
}

// paths of a scope from a path on that have the prefix.
func (l lister) paths(scope, from string, inclusive bool, limit int) ([]string, error) {
	key := l.s.codec.keys.Opaque("directory", scope)
	var dir fsmpb.Directory
	if found, err := l.r.get(tableDirectory, key[:], &dir); err != nil || !found {
		return nil, err
	}
	var paths []string
	for i := max(pageFor(dir.GetPages(), from), 0); i < len(dir.GetPages()); i++ {
		var page fsmpb.Page
		if _, err := l.r.get(tablePage, pageKey(key[:], dir.Pages[i].GetId()), &page); err != nil {
			return nil, err
		}
		for _, p := range page.GetPaths() {
			if p < from || p == from && !inclusive {
				continue
			}
			if !strings.HasPrefix(p, l.q.Prefix) || len(paths) == limit {
				return paths, nil
			}
			paths = append(paths, p)
		}
	}
	return paths, nil
}

// secret is the metadata of a place; nil where it is not to be shown.
func (l lister) secret(p position) (*fsmpb.Secret, error) {
	scope, err := parseFullScope(l.q.Scopes[p.scope], l.s.TrustDomain())
	if err != nil {
		return nil, err
	}
	key := RecordKey(l.s.codec.keys, scope, Path(p.path))
	r := &record{key: key[:], in: placed{scope, l.q.Scopes[p.scope]}, path: p.path, head: &fsmpb.Head{}}
	if found, err := l.r.get(tableHead, r.key, r.head); err != nil || !found {
		return nil, err
	}
	g := r.at(0)
	if g.version == nil || r.head.GetDeletedAt() != 0 && !l.q.IncludeDeleted || l.q.Overdue && !r.head.GetOverdue() {
		return nil, nil
	}
	return g.secret(), nil
}

// openValue opens the value that an iterator stands on.
func openValue(r reader, key []byte, value func() ([]byte, error), m proto.Message) error {
	sealed, err := value()
	if err != nil {
		return fmt.Errorf("%w: scan: %w", ErrCorrupt, err)
	}
	plaintext, err := r.codec.open(key, sealed)
	if err != nil {
		return err
	}
	return decode(plaintext, m)
}
