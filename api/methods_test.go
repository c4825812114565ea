package api

import (
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	hexrv1 "github.com/hexrdev/hexrd/api/hexr/v1"
	"github.com/hexrdev/hexrd/fsm"
)

// TestMethodTable: every RPC of the API has a line, and no line is without an
// RPC; what is audited is what is not local; nobody but agents gets values.
func TestMethodTable(t *testing.T) {
	table := methodTable()
	found := map[string]bool{}
	for _, file := range []protoreflect.FileDescriptor{
		hexrv1.File_api_hexr_v1_vault_proto, hexrv1.File_api_hexr_v1_audit_proto, hexrv1.File_api_hexr_v1_cluster_proto, hexrv1.File_api_hexr_v1_session_proto,
		healthpb.File_grpc_health_v1_health_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				name := "/" + string(service.FullName()) + "/" + string(m.Name())
				found[name] = true
				line := table[name]
				if line == nil {
					t.Errorf("%s has no line in the method table", name)
					continue
				}
				if service.FullName().Parent() == "hexr.v1" && !m.IsStreamingServer() && line.handle == nil {
					t.Errorf("%s has no handler", name)
				}
			}
		}
	}
	peer := []string{"Propose", "Join", "Enter", "Status", "Root", "Change", "Key", "KeyUse", "Sign"}
	for _, m := range peer {
		found["/hexr.cluster.v1.Peer/"+m] = true
	}
	for name, line := range table {
		if !found[name] {
			t.Errorf("%s is in the method table, and is no RPC", name)
		}
		if len(line.classes) == 0 {
			t.Errorf("%s has no class", name)
		}
	}
	for _, name := range []string{hexrv1.Vault_Get_FullMethodName, hexrv1.Vault_BatchGet_FullMethodName} {
		if c := table[name].classes; len(c) != 1 || c[0] != fsm.ClassAgent {
			t.Errorf("%s is not for agents alone", name)
		}
	}
}
