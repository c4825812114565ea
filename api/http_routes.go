package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
)

var noDeadline time.Time

// route is what a path and an HTTP method mean.
type route struct {
	method string // full gRPC name
	vars   string // what the path holds in place of {}
	decode func(vars string, r *http.Request, body []byte) (proto.Message, error)
	stream func(s *Server, ctx context.Context, req proto.Message, out *ndjson) error
	raw    func(*Server, http.ResponseWriter, *http.Request)
	// classes may call what is raw; of methods the method table says so.
	classes []fsm.Class
}

// fixed are the routes without a variable: path, then HTTP method.
var fixed = map[string]map[string]route{
	"/v1/secrets":          {"GET": {method: hexrv1.Vault_List_FullMethodName, decode: decodeList}},
	"/v1/secrets:batchGet": {"POST": {method: hexrv1.Vault_BatchGet_FullMethodName, decode: decodeBatchGet}},
	"/v1/whoami":           {"GET": {method: hexrv1.Vault_WhoAmI_FullMethodName, decode: plain[hexrv1.WhoAmIRequest]}},
	"/v1/audit":            {"GET": {method: hexrv1.Audit_Query_FullMethodName, decode: decodeQuery}},
	"/v1/audit/tail":       {"GET": {method: hexrv1.Audit_Tail_FullMethodName, decode: decodeTail, stream: streamTail}},
	"/v1/audit/verify":     {"GET": {method: hexrv1.Audit_Verify_FullMethodName, decode: plain[hexrv1.VerifyRequest], stream: streamVerify}},
	"/v1/cluster/status":   {"GET": {method: hexrv1.Cluster_Status_FullMethodName, decode: plain[hexrv1.StatusRequest]}},
	"/v1/cluster/members":  {"GET": {method: hexrv1.Cluster_Members_FullMethodName, decode: plain[hexrv1.MembersRequest]}},
	"/v1/cluster/transfer": {"POST": {method: hexrv1.Cluster_TransferLeadership_FullMethodName, decode: decodeTransfer}},
	"/v1/cluster/tokens": {
		"GET":  {method: hexrv1.Cluster_ListTokens_FullMethodName, decode: plain[hexrv1.ListTokensRequest]},
		"POST": {method: hexrv1.Cluster_CreateToken_FullMethodName, decode: decodeCreateToken},
	},
	"/v1/cluster/settings": {"GET": {method: hexrv1.Cluster_GetSettings_FullMethodName, decode: plain[hexrv1.GetSettingsRequest]}},
	"/v1/cluster/blocks": {
		"GET":    {method: hexrv1.Cluster_ListBlocks_FullMethodName, decode: plain[hexrv1.ListBlocksRequest]},
		"POST":   {method: hexrv1.Cluster_Block_FullMethodName, decode: decodeBlock},
		"DELETE": {method: hexrv1.Cluster_Unblock_FullMethodName, decode: decodeUnblock},
	},
	"/metrics":         {"GET": {raw: serveMetrics, classes: checkers}},
	"/v1/openapi.yaml": {"GET": {raw: serveOpenAPI, classes: everyone}},
}

// variable are the routes that end with a variable of one segment.
var variable = map[string]map[string]route{
	"/v1/cluster/members/":  {"DELETE": {method: hexrv1.Cluster_RemoveMember_FullMethodName, decode: decodeRemoveMember}},
	"/v1/cluster/tokens/":   {"DELETE": {method: hexrv1.Cluster_RevokeToken_FullMethodName, decode: decodeRevokeToken}},
	"/v1/cluster/settings/": {"PUT": {method: hexrv1.Cluster_SetSetting_FullMethodName, decode: decodeSetSetting}},
}

const secretsPrefix = "/v1/secrets/"

// onSecret are the routes of a secret's path, by the verb behind it.
var onSecret = map[string]map[string]route{
	"": {
		"GET":    {method: hexrv1.Vault_Get_FullMethodName, decode: decodeGet},
		"PUT":    {method: hexrv1.Vault_Put_FullMethodName, decode: decodePut},
		"DELETE": {method: hexrv1.Vault_Delete_FullMethodName, decode: decodeDelete},
	},
	":describe": {"GET": {method: hexrv1.Vault_Describe_FullMethodName, decode: decodeDescribe}},
	":versions": {"GET": {method: hexrv1.Vault_Versions_FullMethodName, decode: decodeVersions}},
	":undelete": {"POST": {method: hexrv1.Vault_Undelete_FullMethodName, decode: decodeUndelete}},
}

// match finds the route. Paths are taken as they were sent: %2F is a slash,
// nothing is cleaned or redirected, and a//b is no path.
func match(r *http.Request) (*route, error) {
	path := r.URL.EscapedPath()
	if methods, ok := fixed[path]; ok {
		return pick(methods, r, "")
	}
	if rest, ok := strings.CutPrefix(path, secretsPrefix); ok {
		verb := ""
		if i := strings.LastIndexByte(rest, ':'); i >= 0 {
			rest, verb = rest[:i], rest[i:]
		}
		secret, err := url.PathUnescape(rest)
		if err != nil {
			return nil, invalid("path: it is not well escaped")
		}
		methods, ok := onSecret[verb]
		if !ok {
			return nil, invalid("path: nothing but :describe, :versions and :undelete may follow it")
		}
		rt, err := pick(methods, r, secret)
		if err == nil && rt.method == hexrv1.Vault_Delete_FullMethodName && r.URL.Query().Has("destroy") {
			rt.method, rt.decode = hexrv1.Vault_Destroy_FullMethodName, decodeDestroy
		}
		return rt, err
	}
	for prefix, methods := range variable {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			v, err := url.PathUnescape(rest)
			if err != nil || v == "" {
				return nil, invalid("path: it is not well escaped")
			}
			return pick(methods, r, v)
		}
	}
	return nil, errMethod
}

func pick(methods map[string]route, r *http.Request, vars string) (*route, error) {
	rt, ok := methods[r.Method]
	if !ok {
		allowed := make([]string, 0, len(methods))
		for m := range methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		return nil, methodNotAllowed(strings.Join(allowed, ", "))
	}
	rt.vars = vars
	return &rt, nil
}

func streamTail(s *Server, ctx context.Context, req proto.Message, out *ndjson) error {
	return s.auditTail(ctx, req.(*hexrv1.TailRequest), func(resp *hexrv1.TailResponse) error {
		for _, row := range resp.GetRows() {
			if err := out.write(hexrv1.ToJSON(row)); err != nil {
				return err
			}
		}
		return nil
	})
}

func streamVerify(s *Server, ctx context.Context, req proto.Message, out *ndjson) error {
	return s.auditVerify(ctx, req.(*hexrv1.VerifyRequest), func(resp *hexrv1.VerifyResponse) error {
		return out.write(hexrv1.ToJSON(resp))
	})
}
