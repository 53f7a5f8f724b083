package api

import (
	"context"
	"fmt"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/jurymast/jurymast/server/auth"
)

// Metadata by which the HTTP side hands a caller it has recognised to the in-process server. Nobody else can reach that
// server, and the HTTP side passes no header of a client on as metadata.
const (
	metadataPrincipal = "jurymast-principal"
	metadataRole      = "jurymast-role"
)

// fromPeer recognises the caller of a gRPC connection.
func fromPeer(a *auth.Authenticator) func(context.Context) (auth.Principal, error) {
	return func(ctx context.Context) (auth.Principal, error) {
		var proof auth.Proof
		if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
			proof.Authorization = values[0]
		}
		if p, ok := peer.FromContext(ctx); ok {
			proof.Remote = p.Addr
			if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
				proof.Chains = info.State.VerifiedChains
			}
		}
		return a.Authenticate(proof)
	}
}

// handed recognises the caller that the HTTP side hands over.
func handed(ctx context.Context) (auth.Principal, error) {
	name := metadata.ValueFromIncomingContext(ctx, metadataPrincipal)
	roleName := metadata.ValueFromIncomingContext(ctx, metadataRole)
	if len(name) != 1 || len(roleName) != 1 {
		return auth.Principal{}, fmt.Errorf("nobody was handed over: %w", auth.ErrUnauthenticated)
	}
	role, err := auth.ParseRole(roleName[0])
	if err != nil {
		return auth.Principal{}, fmt.Errorf("%w: %w", auth.ErrUnauthenticated, err)
	}
	return auth.Principal{Name: name[0], Role: role}, nil
}

// handOver is the metadata of a caller.
func handOver(p auth.Principal) metadata.MD {
	return metadata.Pairs(metadataPrincipal, p.Name, metadataRole, p.Role.String())
}
