package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/jurymast/jurymast/server/audit"
	"github.com/jurymast/jurymast/server/auth"
	"github.com/jurymast/jurymast/server/telemetry"
)

const (
	// bodyTime bounds how long a body may take to arrive.
	bodyTime = 15 * time.Second
	// writeTime bounds how long a client may take to accept what it is sent; it begins anew with every message.
	writeTime = 30 * time.Second
)

// routes builds the handler of the HTTP listener.
func (s *Server) routes(gateway http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writePlain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	if s.options.Metrics != nil {
		mux.Handle("GET /metrics", s.needs(auth.Viewer, s.options.Metrics))
	}
	if s.options.Webhooks != nil {
		webhooks := s.recognise(s.options.Webhooks)
		mux.Handle("/v1/signals/", webhooks)
		mux.Handle("/v1/webhooks/", webhooks)
	}
	mux.Handle("/v1/", s.needs(auth.Viewer, gateway))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &fault{code: codes.NotFound, reason: reasonNotFound, message: "nothing is at " + shortened(r.URL.Path)})
	})
	handler := s.limitBody(mux)
	// A page that a browser shows must not command a server on its user's own machine.
	handler = s.crossOrigin().Handler(handler)
	if !s.options.Auth.Configured() && !s.options.Insecure {
		handler = s.onlyLocalNames(handler)
	}
	return s.shield(handler)
}

// crossOrigin refuses changes that a browser asks for on behalf of another site.
func (s *Server) crossOrigin() *http.CrossOriginProtection {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, &fault{code: codes.PermissionDenied, reason: reasonForbidden, message: "a page of another site asked for this"})
	}))
	return p
}

// onlyLocalNames refuses requests for a name that is not this machine's own: a foreign name that resolves to loopback
// (DNS rebinding) would let any web page speak to a server that asks nobody who they are.
func (s *Server) onlyLocalNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !auth.IsLoopback(host) {
			s.fail(w, &fault{code: codes.PermissionDenied, reason: reasonForbidden, message: "without authentication this server answers to loopback names only"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shield is outermost: no panic is shown, nothing is cached or sniffed, no client holds a connection up for good.
func (s *Server) shield(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(http.ErrAbortHandler)
			}
			s.log.Error("an HTTP handler panicked", "path", r.URL.Path, telemetry.KeyError, fmt.Sprint(p), telemetry.KeyStack, string(debug.Stack()))
			s.fail(w, fmt.Errorf("panic: %v", p))
		}()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Accel-Buffering", "no") // a proxy must not hold events back
		next.ServeHTTP(&timedWriter{ResponseWriter: w, control: http.NewResponseController(w)}, r)
	})
}

// timedWriter bounds each write, not the whole answer: a stream may last for days.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements [http.ResponseWriter].
func (w *timedWriter) Write(b []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the writer below.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limitBody reads the body, so that no handler waits for one, and refuses one that is too large or too slow.
func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			s.fail(w, err)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			s.failAs(w, http.StatusRequestEntityTooLarge, &fault{
				code: codes.InvalidArgument, reason: reasonTooLarge, message: fmt.Sprintf("the body is larger than %d bytes", maxMessage),
			})
			return
		case err != nil:
			s.failAs(w, http.StatusRequestTimeout, &fault{code: codes.Canceled, reason: reasonInvalid, message: "the body did not arrive"})
			return
		}
		if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			s.fail(w, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		next.ServeHTTP(w, r)
	})
}

type principalKey struct{}

// principalOf is who was recognised; nil for nobody.
func principalOf(ctx context.Context) *auth.Principal {
	p, _ := ctx.Value(principalKey{}).(*auth.Principal)
	return p
}

// needs lets only callers through whom we know and whose role covers the needed one.
func (s *Server) needs(role auth.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.options.Auth.Request(r)
		switch {
		case err != nil:
			s.fail(w, err)
		case !who.Role.Covers(role):
			s.fail(w, &fault{code: codes.PermissionDenied, reason: reasonForbidden, message: fmt.Sprintf("this needs the role %v", role)})
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, &who)))
		}
	})
}

// recognise tells a handler who calls, if we know: a webhook's sender may show a secret of its own instead.
func (s *Server) recognise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if who, err := s.options.Auth.Request(r); err == nil {
			ctx = audit.With(ctx, audit.Caller{Principal: who.Name, Role: who.Role.String(), Action: "Webhook"})
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serveReady tells whether the store answers and the mirror is filled.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	f := s.common.store.Freshness()
	switch {
	case f.AsOf.IsZero():
		writePlain(w, http.StatusServiceUnavailable, "not ready: the store was not heard yet\n")
	case !f.Live:
		writePlain(w, http.StatusServiceUnavailable, "not ready: the store was heard last at "+f.AsOf.UTC().Format(time.RFC3339)+"\n")
	default:
		writePlain(w, http.StatusOK, "ready\n")
	}
}

func writePlain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // a client that went away is no news
}

// fail answers with an error's status.
func (s *Server) fail(w http.ResponseWriter, err error) { s.failAs(w, 0, err) }

func (s *Server) failAs(w http.ResponseWriter, code int, err error) {
	st := s.errors.status(err)
	if st == nil {
		st = s.hidden(err)
	}
	s.writeStatus(w, code, st)
}

// writeStatus writes a status as JSON; an HTTP code of 0 is that of the status.
func (s *Server) writeStatus(w http.ResponseWriter, code int, st *status.Status) {
	if code == 0 {
		code = httpCode(st)
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", mimeJSON)
	if st.Code() == codes.Unauthenticated {
		h.Set("WWW-Authenticate", `Bearer realm="jurymast"`)
	}
	for _, d := range st.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			seconds := max(1, int(retry.GetRetryDelay().AsDuration().Round(time.Second).Seconds()))
			h.Set("Retry-After", strconv.Itoa(seconds))
		}
	}
	body, err := s.json.Marshal(st.Proto())
	if err != nil {
		s.log.Error("marshal a status", telemetry.KeyError, err)
		code, body = http.StatusInternalServerError, []byte(`{"code":13,"message":"internal error"}`)
	}
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // a client that went away is no news
}

// httpCode is the HTTP status of a status.
func httpCode(st *status.Status) int {
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok || info.GetDomain() != Domain {
			continue
		}
		if info.GetReason() == reasonNoSpace {
			return http.StatusInsufficientStorage
		}
	}
	if st.Code() == codes.FailedPrecondition {
		return http.StatusConflict // it is the state that stands in the way, not the request
	}
	return runtime.HTTPStatusFromCode(st.Code())
}

// newGateway translates HTTP into calls of the in-process server.
func (s *Server) newGateway() (*runtime.ServeMux, error) {
	queries, err := newBindings()
	if err != nil {
		return nil, err
	}
	return runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, s.json),
		runtime.WithMarshalerOption(mimeEvents, &eventCodec{s.json}),
		// No header of a client becomes metadata; who it is was found out before.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) {
			return key, key == HeaderAsOf || key == HeaderLive
		}),
		runtime.WithMetadata(func(ctx context.Context, _ *http.Request) metadata.MD {
			if who := principalOf(ctx); who != nil {
				return handOver(*who)
			}
			return nil
		}),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithWriteContentLength(),
		runtime.WithDisableChunkedEncoding(), // net/http does that by itself, where the protocol has it
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			s.failHTTP(w, err)
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
			f := &fault{
				code: codes.NotFound, reason: reasonNotFound,
				message: fmt.Sprintf("%s %s: %s", shortened(r.Method), shortened(r.URL.Path), strings.ToLower(http.StatusText(code))),
			}
			if code == http.StatusMethodNotAllowed {
				f.code = codes.Unimplemented
			}
			s.failAs(w, code, f)
		}),
		runtime.WithMiddlewares(func(next runtime.HandlerFunc) runtime.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
				if err := queries.check(r); err != nil {
					s.fail(w, err)
					return
				}
				next(w, r, params)
			}
		}),
	), nil
}

// failHTTP answers with an error of the gateway or of the in-process server: a status already, made presentable there.
func (s *Server) failHTTP(w http.ResponseWriter, err error) {
	var routed *runtime.HTTPStatusError
	if errors.As(err, &routed) {
		s.failAs(w, routed.HTTPStatus, invalid(Violation{Message: routed.Err.Error()}))
		return
	}
	st := status.Convert(err)
	if st.Code() == codes.InvalidArgument && len(st.Details()) == 0 {
		// The gateway's own words about a body, a path or a query.
		s.fail(w, invalid(Violation{Message: st.Message()}))
		return
	}
	s.writeStatus(w, 0, st)
}

// events makes a request for server-sent events what the gateway expects: the Accept header alone, and the id of the
// last event seen as the cursor.
func events(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), mimeEvents) {
			next.ServeHTTP(w, r)
			return
		}
		r = r.Clone(r.Context())
		r.Header.Set("Accept", mimeEvents)
		if last := r.Header.Get("Last-Event-ID"); last != "" && strings.HasSuffix(r.URL.Path, ":watch") {
			// A client that comes back by itself repeats its first address, whose cursor is older.
			q := r.URL.Query()
			q.Set("cursor", last)
			r.URL.RawQuery = q.Encode()
		}
		next.ServeHTTP(w, r)
	})
}
