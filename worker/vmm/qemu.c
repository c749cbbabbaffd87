/* QEMU over QMP on an inherited socketpair.
 *
 * Attaching the disk is five commands in one go: add-fd (the backing file travels as SCM_RIGHTS with the first byte),
 * object-add secret, blockdev-add luks, object-del, blockdev-reopen of the placeholder node "work" onto it. QEMU reads QMP in
 * small steps, so nothing waits for an answer in between; the last answer ends the attachment, the first error too. */
#include "worker/vmm/qemu_session.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd_pass.h"

static void vmm_break(struct vmm *vmm, const struct err *err)
{
	if (vmm->is_broken)
		return;
	vmm->is_broken = true;
	event_del(vmm->event);
	vmm->events->on_broken(vmm->ctx, err);
}

static void end_attachment(struct vmm *vmm, const struct err *err)
{
	if (!vmm->is_attaching)
		return;
	vmm->is_attaching = false;
	vmm->events->on_disk(vmm->ctx, err);
}

static void take_message(struct vmm *vmm, const struct qmp_message *message)
{
	struct err err = { 0 };

	switch (message->kind) {
	case QMP_KIND_RETURN:
		if (message->id == COMMAND_REOPEN)
			end_attachment(vmm, NULL);
		return;
	case QMP_KIND_ERROR:
		if (message->id == COMMAND_SET_ACTION) {
			(void)err_set(&err, ERR_BUSY, 0, "QEMU did not forbid its guest to restart: %s", message->text);
			vmm_break(vmm, &err);
			return;
		}
		if (message->id >= COMMAND_IGNORE_SHARED)
			return;
		(void)err_set(&err, ERR_BUSY, 0, "QEMU refused step %" PRIu64 " of attaching the disk: %s", message->id,
			      message->text);
		end_attachment(vmm, &err);
		return;
	case QMP_KIND_EVENT: /* how a VM ended is the guard's to tell */
		if (strcmp(message->text, "RESET") == 0)
			vmm->events->on_restart(vmm->ctx);
		if (strcmp(message->text, "BLOCK_IO_ERROR") == 0 && !vmm->has_io_error) {
			vmm->has_io_error = true;
			vmm->events->on_io_error(vmm->ctx);
		}
		return;
	case QMP_KIND_GREETING:
		return;
	case QMP_KIND_COUNT:
		assert(false);
	}
}

/* No callback closes the VMM (a job ends in a turn of its own), but one may find it broken. */
static void take_lines(struct vmm *vmm)
{
	struct err err;

	while (!vmm->is_broken) {
		struct qmp_message message;
		uint8_t *newline = vmm->in.len ? memchr(vmm->in.data, '\n', vmm->in.len) : NULL;
		size_t len;
		int r;

		if (!newline)
			break;
		len = (size_t)(newline - vmm->in.data);
		r = qmp_decode((const char *)vmm->in.data, len, &message);
		buf_consume(&vmm->in, len + 1);
		if (r < 0) {
			(void)err_set(&err, ERR_BUSY, EBADMSG, "QEMU said something that is not QMP");
			vmm_break(vmm, &err);
			return;
		}
		qemu_snapshot_take(vmm, &message);
		take_message(vmm, &message);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct vmm *vmm = arg;
	uint8_t chunk[4096];
	ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	struct err err;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void)err_set(&err, ERR_BUSY, n < 0 ? errno : 0, "QEMU closed its control socket");
		vmm_break(vmm, &err);
		return;
	}
	if (buf_append(&vmm->in, chunk, (size_t)n) < 0) {
		(void)err_set(&err, ERR_BUSY, E2BIG, "QEMU sent a QMP line longer than %d bytes", QMP_MAX_LINE_BYTES);
		vmm_break(vmm, &err);
		return;
	}
	take_lines(vmm);
}

/* The socket's buffer takes a few hundred bytes at once: a short send means that QEMU does not read, and is an error. */
int qemu_send(struct vmm *vmm, const uint8_t *data, size_t len, int passed_fd, struct err *err)
{
	ssize_t n = fd_send(vmm->fd, data, len, &passed_fd, passed_fd >= 0, MSG_DONTWAIT);

	if (n < 0)
		return err_set(err, ERR_BUSY, (int)-n, "send to QEMU's control socket");
	if ((size_t)n != len)
		return err_set(err, ERR_BUSY, EAGAIN, "QEMU does not read its control socket");
	return 0;
}

static void qemu_close(struct vmm *vmm)
{
	if (!vmm)
		return;
	if (vmm->event)
		event_free(vmm->event);
	close_fd(&vmm->fd);
	buf_free(&vmm->in);
	free(vmm);
}

DEFINE_FREEP(struct vmm, qemu_close)

static int qemu_open(struct event_base *base, int control_fd, const struct vmm_events *events, void *ctx,
		     struct vmm **ret, struct err *err)
{
	cleanup_fd int fd = control_fd;
	cleanup_(qemu_closep) struct vmm *vmm = NULL;
	cleanup_(buf_free) struct buf out = { 0 };
	int r;

	vmm = calloc(1, sizeof(*vmm));
	if (!vmm)
		return err_set(err, ERR_HOST, ENOMEM, "a QMP session");
	vmm->fd = take_fd(&fd);
	vmm->in.max = QMP_MAX_LINE_BYTES;
	vmm->events = events;
	vmm->ctx = ctx;
	vmm->event = event_new(base, vmm->fd, EV_READ | EV_PERSIST, on_readable, vmm);
	if (!vmm->event || event_add(vmm->event, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch a QMP session");
	r = qmp_encode(&out, "qmp_capabilities", COMMAND_CAPABILITIES, NULL);
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "a QMP command");
	r = qemu_send(vmm, out.data, out.len, -1, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(vmm);
	return 0;
}

/* The one command that carries the key, built in locked memory. */
static int encode_secret(const struct secret *key, struct secret **ret, struct err *err)
{
	static const char head[] = "{\"execute\":\"object-add\",\"id\":3,\"arguments\":{\"qom-type\":\"secret\",\"id\":\"key\",\"data\":\"";
	static const char tail[] = "\"}}\n";
	size_t key_len = secret_len(key);
	struct secret *line;
	uint8_t *at;
	int r = secret_new(sizeof(head) - 1 + key_len + sizeof(tail) - 1, &line, err);

	static_assert(COMMAND_SECRET_ADD == 3, "the id written in head");
	if (r < 0)
		return r;
	at = secret_data(line);
	memcpy(at, head, sizeof(head) - 1);
	memcpy(at + sizeof(head) - 1, secret_peek(key), key_len);
	memcpy(at + sizeof(head) - 1 + key_len, tail, sizeof(tail) - 1);
	*ret = line;
	return 0;
}

/* The guest's flushes go no further than QEMU: nobody will ever read this disk after a crash of the host. */
static int encode_open(struct buf *out)
{
	int r = qmp_encode(out, "blockdev-add", COMMAND_BLOCKDEV_ADD, "{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:{s:b}}}", "driver", "luks",
			   "node-name", "volume", "key-secret", "key", "file", "driver", "file", "filename", "/dev/fdset/1", "locking",
			   "off", "cache", "no-flush", 1);

	if (r == 0)
		r = qmp_encode(out, "object-del", COMMAND_SECRET_DEL, "{s:s}", "id", "key");
	if (r == 0)
		r = qmp_encode(out, "blockdev-reopen", COMMAND_REOPEN, "{s:[{s:s, s:s, s:s}]}", "options", "node-name", "work", "driver",
			       "raw", "file", "volume");
	return r;
}

static int qemu_attach_drive(struct vmm *vmm, const struct drive *drive, struct err *err)
{
	cleanup_(secret_freep) struct secret *secret_line = NULL;
	struct buf add_fd = { 0 }, open = { 0 };
	int r = encode_secret(drive->of.file.key, &secret_line, err);

	if (r < 0)
		return r;
	r = qmp_encode(&add_fd, "add-fd", COMMAND_ADD_FD, "{s:i}", "fdset-id", 1);
	if (r == 0)
		r = encode_open(&open);
	if (r < 0)
		r = err_set(err, ERR_HOST, ENOMEM, "the commands that attach a disk");
	if (r == 0)
		r = qemu_send(vmm, add_fd.data, add_fd.len, drive->fd, err);
	if (r == 0)
		r = qemu_send(vmm, secret_peek(secret_line), secret_len(secret_line), -1, err);
	if (r == 0)
		r = qemu_send(vmm, open.data, open.len, -1, err);
	buf_free(&add_fd);
	buf_free(&open);
	vmm->is_attaching = r == 0;
	return r;
}

/* The command would also have to be sent if there were nothing to say: QEMU stops watching the guest channel's socket while
 * no guest process has the port open, and does not look again when one opens it; whatever wakes its main loop makes it look
 * (docs/decisions/2026-11-24-a-poke-for-qemu.md). */
static int qemu_agent_listens(struct vmm *vmm, struct err *err)
{
	struct buf out = { 0 };
	int r = qmp_encode(&out, "set-action", COMMAND_SET_ACTION, "{s:s}", "reboot", "shutdown");

	r = r < 0 ? err_set(err, ERR_HOST, -r, "a QMP command") : qemu_send(vmm, out.data, out.len, -1, err);
	buf_free(&out);
	return r;
}

const struct vmm_control vmm_control_qemu = {
	.open = qemu_open,
	.save = qemu_save,
	.restore = qemu_restore,
	.attach_drive = qemu_attach_drive,
	.agent_listens = qemu_agent_listens,
	.close = qemu_close,
};
