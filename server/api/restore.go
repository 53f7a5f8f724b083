package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	recordv1 "github.com/jurymast/jurymast/proto/jurymast/record/v1"
	jv1 "github.com/jurymast/jurymast/proto/jurymast/v1"
	"github.com/jurymast/jurymast/server/store"
	"github.com/jurymast/jurymast/server/telemetry"
)

// backupPiece is how much of a backup goes into one message.
const backupPiece = 256 << 10

// addRestore adds to an answer whether the replicas only observe, and how the last backup went.
func (s *adminService) addRestore(out *jv1.Info) {
	if why, observing := s.store.ObserveOnly(); observing {
		out.ObserveOnly = &jv1.ObserveOnly{
			Since: why.GetSince(), Reason: why.GetReason(), Detail: why.GetDetail(), Replica: why.GetReplica(), BackupTime: why.GetBackupTime(),
		}
	}
	s.store.Read(func(v store.View) {
		if b := store.Get[*recordv1.Backup](v, store.BackupKey()).Msg; b != nil {
			out.LastBackup = &jv1.BackupStatus{
				BeginTime: b.GetBeginTime(), SuccessTime: b.GetSuccessTime(), Revision: b.GetRevision(), Bytes: b.GetBytes(), Replica: b.GetReplica(),
			}
		}
	})
}

// Backup implements [jv1.AdminServiceServer]. The backup is taken and verified before the first byte is sent, so that a slow
// caller does not keep the store's pages from being used again.
func (s *adminService) Backup(_ *jv1.BackupRequest, stream grpc.ServerStreamingServer[jv1.BackupResponse]) error {
	if s.backups == nil {
		return &fault{code: codes.Unimplemented, reason: reasonNotPossible, message: "this server takes no backups"}
	}
	file, err := s.backups.Take(stream.Context())
	if err != nil {
		return err
	}
	defer s.discard(file.Path)
	f, err := os.Open(file.Path)
	if err != nil {
		return fmt.Errorf("open the backup: %w", err)
	}
	defer f.Close()
	if err := stream.Send(&jv1.BackupResponse{Part: &jv1.BackupResponse_Header{Header: &jv1.BackupHeader{
		RestoreEpoch: file.RestoreEpoch, Revision: file.Snapshot.Revision, Version: s.identity.Version, Time: stamp(file.Time),
		ClusterId: fmt.Sprintf("%x", file.ClusterID), Bytes: file.Snapshot.Bytes,
	}}}); err != nil {
		return err
	}
	hash, sent := sha256.New(), int64(0)
	for piece := make([]byte, backupPiece); ; {
		n, err := f.Read(piece)
		if n > 0 {
			hash.Write(piece[:n])
			sent += int64(n)
			if err := stream.Send(&jv1.BackupResponse{Part: &jv1.BackupResponse_Data{Data: piece[:n]}}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the backup: %w", err)
		}
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if sum != file.SHA256 {
		return fmt.Errorf("the backup changed on this server's disk: its SHA-256 is %s, and was %s", sum, file.SHA256)
	}
	return stream.Send(&jv1.BackupResponse{Part: &jv1.BackupResponse_Trailer{Trailer: &jv1.BackupTrailer{Bytes: sent, Sha256: sum}}})
}

func (s *adminService) discard(path string) {
	if err := os.Remove(path); err != nil {
		s.log.Warn("a backup that was sent can't be removed", telemetry.KeyError, err)
	}
}

// ConfirmRestore implements [jv1.AdminServiceServer].
func (s *adminService) ConfirmRestore(ctx context.Context, req *jv1.ConfirmRestoreRequest) (*jv1.ConfirmRestoreResponse, error) {
	if s.restores == nil {
		return nil, &fault{code: codes.Unimplemented, reason: reasonNotPossible, message: "this server confirms no restores"}
	}
	return s.restores.Confirm(ctx, req.GetReason())
}
