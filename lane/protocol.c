#include "lane/protocol.h"

#include <assert.h>
#include <string.h>

#include "base/own.h"
#include "wire/task.h"

struct head {
	uint32_t magic;
	uint16_t version;
	uint16_t op;
	uint64_t seq;
	uint64_t deadline_boot_ms; /* of a request */
	uint32_t err_kind;	   /* of a reply; not ERR_NONE: its body is the error's text */
	int32_t errnum;
	uint32_t n_fds;
	uint32_t secret_len; /* what follows the body */
};

/* What an operation's request and good reply have. */
static const struct {
	const char *name;
	size_t request_len, reply_len; /* of the bodies */
	size_t fds_max;		       /* of the request */
	size_t reply_fds, reply_fds_max;
} ops[] = {
	[LANE_OP_NONE] = { "none", 0, 0, 0, 0, 0 },
	[LANE_OP_DISK_FORMAT] = { "disk_format", sizeof(struct lane_disk_format), sizeof(struct lane_disk_made), 0, 1, 1 },
	[LANE_OP_DISK_DESTROY_KEY] = { "disk_destroy_key", sizeof(struct lane_vm_id), sizeof(struct lane_key_destroyed), 0, 0, 0 },
	[LANE_OP_DISK_ERASE] = { "disk_erase", sizeof(struct lane_vm_id), 0, 0, 0, 0 },
	[LANE_OP_DISK_LOOK] = { "disk_look", 0, 0, 0, 0, 0 },
	[LANE_OP_VM_START] = { "vm_start", sizeof(struct lane_vm_start), sizeof(struct lane_vm_started), 2, 3, 5 },
	[LANE_OP_VM_DESTROY] = { "vm_destroy", sizeof(struct lane_vm_id), 0, 0, 0, 0 },
	[LANE_OP_VM_PROBE] = { "vm_probe", sizeof(struct lane_vm_probe), 0, 0, 3, 3 },
	[LANE_OP_SWEEP] = { "sweep", sizeof(struct lane_sweep), sizeof(struct lane_swept), 0, 0, 0 },
};
static_assert(ARRAY_SIZE(ops) == LANE_OP_COUNT, "every lane_op has its row");

/* What VM_START brings and answers beside a drive and the sockets, for each launcher. */
static const struct {
	bool is_known, is_clone, is_template;
} launchers[LAUNCHER_COUNT] = {
	[LAUNCHER_QEMU] = { .is_known = true },
	[LAUNCHER_QEMU_TEMPLATE] = { .is_known = true, .is_template = true },
	[LAUNCHER_QEMU_CLONE] = { .is_known = true, .is_clone = true },
};
static_assert(sizeof(struct head) + sizeof(((struct lane_request *)0)->of) + LANE_SECRET_MAX <= LANE_DATAGRAM_MAX &&
		      sizeof(struct head) + sizeof(((struct lane_reply *)0)->of) + LANE_SECRET_MAX <= LANE_DATAGRAM_MAX &&
		      sizeof(struct head) + sizeof(((struct err *)0)->msg) <= LANE_DATAGRAM_MAX,
	      "every datagram fits");

const char *lane_op_name(enum lane_op op)
{
	return (unsigned)op < LANE_OP_COUNT ? ops[op].name : "unknown";
}

/* Both directions */

static size_t put(uint8_t *out, const struct head *head, const void *body, size_t body_len, const struct secret *secret)
{
	memcpy(out, head, sizeof(*head));
	if (body_len)
		memcpy(out + sizeof(*head), body, body_len);
	if (secret)
		memcpy(out + sizeof(*head) + body_len, secret_peek(secret), secret_len(secret));
	return sizeof(*head) + body_len + (secret ? secret_len(secret) : 0);
}

static int check_head(const void *data, size_t len, size_t n_fds, struct head *ret, const char *what, struct err *err)
{
	if (len < sizeof(*ret))
		return err_set(err, ERR_BUG, EBADMSG, "a lane %s of %zu bytes", what, len);
	memcpy(ret, data, sizeof(*ret));
	if (ret->magic != LANE_MAGIC || ret->version != LANE_VERSION)
		return err_set(err, ERR_BUG, EBADMSG, "a lane %s with magic %#x of version %u, where %d is spoken here", what,
			       ret->magic, ret->version, LANE_VERSION);
	if (ret->op == LANE_OP_NONE || ret->op >= LANE_OP_COUNT)
		return err_set(err, ERR_BUG, EBADMSG, "a lane %s with operation %u", what, ret->op);
	if (ret->n_fds != n_fds)
		return err_set(err, ERR_BUG, EBADMSG, "a lane %s '%s' with %zu descriptors, which says %u", what,
			       ops[ret->op].name, n_fds, ret->n_fds);
	if (ret->secret_len > LANE_SECRET_MAX)
		return err_set(err, ERR_BUG, EBADMSG, "a lane %s '%s' with a secret of %u bytes", what, ops[ret->op].name,
			       ret->secret_len);
	return 0;
}

/* The body lies at the front of its union, and the secret after it. */
static int take(const struct head *head, const uint8_t *data, size_t len, size_t body_len, void *ret_body,
		struct secret **ret_secret, struct err *err)
{
	int r;

	if (len != sizeof(*head) + body_len + head->secret_len)
		return err_set(err, ERR_BUG, EBADMSG, "a lane datagram '%s' of %zu bytes with a body of %zu and a secret of %u",
			       ops[head->op].name, len, body_len, head->secret_len);
	if (body_len)
		memcpy(ret_body, data + sizeof(*head), body_len);
	if (!head->secret_len)
		return 0;
	r = secret_new(head->secret_len, ret_secret, err);
	if (r == 0)
		memcpy(secret_data(*ret_secret), data + sizeof(*head) + body_len, head->secret_len);
	return r;
}

static void forget(struct secret **secret, int *fds, size_t *n_fds)
{
	secret_free(TAKE_PTR(*secret));
	for (size_t i = 0; i < *n_fds; i++)
		close_fd(&fds[i]);
	*n_fds = 0;
}

/* Requests */

size_t lane_request_encode(const struct lane_request *request, uint64_t seq, uint8_t out[LANE_DATAGRAM_MAX])
{
	const struct head head = { .magic = LANE_MAGIC,
				   .version = LANE_VERSION,
				   .op = (uint16_t)request->op,
				   .seq = seq,
				   .deadline_boot_ms = request->deadline_boot_ms,
				   .n_fds = (uint32_t)request->n_fds,
				   .secret_len = request->secret ? (uint32_t)secret_len(request->secret) : 0 };

	assert(request->op > LANE_OP_NONE && request->op < LANE_OP_COUNT && request->n_fds <= LANE_MAX_FDS &&
	       head.secret_len <= LANE_SECRET_MAX);
	return put(out, &head, &request->of, ops[request->op].request_len, request->secret);
}

static int refuse(const struct lane_request *request, const char *why, struct err *err)
{
	return err_set(err, ERR_BUG, EBADMSG, "a lane request '%s' with %s", ops[request->op].name, why);
}

static bool is_id(const char text[IDENT_ID_MAX + 1])
{
	return ident_is_id(text, strnlen(text, IDENT_ID_MAX + 1));
}

static bool is_image(const char text[IDENT_IMAGE_MAX + 1])
{
	return ident_is_image(text, strnlen(text, IDENT_IMAGE_MAX + 1));
}

static bool is_launcher(enum launcher_kind kind)
{
	return (unsigned)kind < LAUNCHER_COUNT && launchers[kind].is_known;
}

static bool is_disk_size(uint32_t mib)
{
	return mib >= TASK_MIN_DISK_MIB && mib <= TASK_MAX_DISK_MIB;
}

static int check_disk_format(const struct lane_request *request, struct err *err)
{
	const struct lane_disk_format *format = &request->of.disk_format;

	if (!is_id(format->vm_id))
		return refuse(request, "a bad workspace id", err);
	if (format->form == DISK_FORM_NONE || (unsigned)format->form >= DISK_FORM_COUNT)
		return refuse(request, "an unknown form of a disk", err);
	return is_disk_size(format->disk_mib) ? 0 : refuse(request, "a disk of no allowed size", err);
}

static bool is_plain_launcher(enum launcher_kind kind)
{
	return is_launcher(kind) && !launchers[kind].is_clone && !launchers[kind].is_template;
}

/* Memory and state of its template, and nothing else; nobody else has any. */
static bool is_from(const struct lane_request *request, size_t n_fds)
{
	const struct lane_vm_start *start = &request->of.vm_start;

	if (!launchers[start->launcher].is_clone)
		return start->build_id == 0;
	return start->build_id != 0 && n_fds == 2 && start->drive == DRIVE_NONE && !request->secret;
}

/* Descriptor and key are what the drive's kind has, and nothing else. */
static bool is_drive(const struct lane_request *request, size_t n_fds)
{
	enum drive_kind kind = request->of.vm_start.drive;

	return (unsigned)kind < DRIVE_COUNT && n_fds == (kind != DRIVE_NONE) && (request->secret != NULL) == (kind == DRIVE_FILE);
}

static int check_vm_start(const struct lane_request *request, size_t n_fds, struct err *err)
{
	const struct lane_vm_start *start = &request->of.vm_start;

	if (!is_id(start->vm_id))
		return refuse(request, "a bad workspace id", err);
	if (!is_image(start->image))
		return refuse(request, "a bad image name", err);
	if (!is_launcher(start->launcher))
		return refuse(request, "an unknown launcher", err);
	if (!is_from(request, n_fds))
		return refuse(request, "another template than its launcher wants", err);
	if (!is_drive(request, launchers[start->launcher].is_clone ? 0 : n_fds))
		return refuse(request, "another drive than it says", err);
	if (start->slot >= LANE_MAX_SLOTS || start->cpus < 1 || start->cpus > TASK_MAX_CPUS ||
	    start->memory_mib < TASK_MIN_MEMORY_MIB || start->memory_mib > TASK_MAX_MEMORY_MIB || !is_disk_size(start->disk_mib))
		return err_set(err, ERR_BUG, ERANGE, "a lane request '%s' for slot %u with %u processors, %u MiB and a disk of %u MiB",
			       ops[request->op].name, start->slot, start->cpus, start->memory_mib, start->disk_mib);
	return 0;
}

static int check_request(const struct lane_request *request, size_t n_fds, struct err *err)
{
	if (!request->deadline_boot_ms)
		return refuse(request, "no deadline", err);
	if (n_fds > ops[request->op].fds_max || (request->secret && !ops[request->op].fds_max))
		return refuse(request, "a descriptor or a secret, of which it has none", err);
	switch (request->op) {
	case LANE_OP_DISK_FORMAT:
		return check_disk_format(request, err);
	case LANE_OP_VM_START:
		return check_vm_start(request, n_fds, err);
	case LANE_OP_VM_PROBE:
		return is_plain_launcher(request->of.vm_probe.launcher) ? 0 : refuse(request, "an unknown launcher", err);
	case LANE_OP_DISK_DESTROY_KEY:
	case LANE_OP_DISK_ERASE:
	case LANE_OP_VM_DESTROY:
		return is_id(request->of.vm.vm_id) ? 0 : refuse(request, "a bad workspace id", err);
	case LANE_OP_DISK_LOOK:
	case LANE_OP_SWEEP:
	case LANE_OP_NONE:
	case LANE_OP_COUNT:
		break;
	}
	return 0;
}

int lane_request_decode(const void *data, size_t len, size_t n_fds, struct lane_request *ret, uint64_t *ret_seq,
			struct err *err)
{
	struct lane_request request = { 0 };
	struct head head;
	int r = check_head(data, len, n_fds, &head, "request", err);

	if (r < 0)
		return r;
	request.op = (enum lane_op)head.op;
	request.deadline_boot_ms = head.deadline_boot_ms;
	r = take(&head, data, len, ops[head.op].request_len, &request.of, &request.secret, err);
	if (r == 0)
		r = check_request(&request, n_fds, err);
	if (r < 0) {
		lane_request_clear(&request);
		return r;
	}
	*ret = request;
	*ret_seq = head.seq;
	return 0;
}

void lane_request_clear(struct lane_request *request)
{
	forget(&request->secret, request->fds, &request->n_fds);
}

const char *lane_request_vm_id(const struct lane_request *request)
{
	if (ops[request->op].request_len < sizeof(struct lane_vm_id))
		return "";
	static_assert(offsetof(struct lane_disk_format, vm_id) == 0 && offsetof(struct lane_vm_start, vm_id) == 0 &&
			      sizeof(struct lane_vm_probe) < sizeof(struct lane_vm_id) &&
			      sizeof(struct lane_sweep) < sizeof(struct lane_vm_id),
		      "bodies that are long enough begin with it");
	return request->of.vm.vm_id;
}

/* Replies */

static bool is_number_of_fds(enum lane_op op, size_t n)
{
	return n == ops[op].reply_fds || n == ops[op].reply_fds_max;
}

bool lane_reply_answers(const struct lane_reply *reply, const struct lane_request *request)
{
	bool is_template = request->op == LANE_OP_VM_START && launchers[request->of.vm_start.launcher].is_template;

	return reply->op == request->op && (reply->n_fds == 0 || (reply->n_fds != ops[reply->op].reply_fds) == is_template);
}

size_t lane_reply_encode(const struct lane_reply *reply, const struct err *fault, uint64_t seq,
			 uint8_t out[LANE_DATAGRAM_MAX])
{
	struct head head = { .magic = LANE_MAGIC, .version = LANE_VERSION, .op = (uint16_t)reply->op, .seq = seq };

	assert(reply->op > LANE_OP_NONE && reply->op < LANE_OP_COUNT);
	if (fault) {
		head.err_kind = (uint32_t)fault->kind;
		head.errnum = fault->errnum;
		return put(out, &head, fault->msg, sizeof(fault->msg), NULL);
	}
	head.n_fds = (uint32_t)reply->n_fds;
	head.secret_len = reply->secret ? (uint32_t)secret_len(reply->secret) : 0;
	assert(is_number_of_fds(reply->op, reply->n_fds) && head.secret_len <= LANE_SECRET_MAX);
	return put(out, &head, &reply->of, ops[reply->op].reply_len, reply->secret);
}

static int take_fault(const struct head *head, const uint8_t *data, size_t len, size_t n_fds, struct err *ret,
		      struct err *err)
{
	if (head->err_kind >= ERR_KIND_COUNT || head->errnum < 0 || n_fds || head->secret_len ||
	    len != sizeof(*head) + sizeof(ret->msg) || !memchr(data + sizeof(*head), '\0', sizeof(ret->msg)))
		return err_set(err, ERR_BUG, EBADMSG, "a lane reply '%s' with a bad error", ops[head->op].name);
	ret->kind = (enum err_kind)head->err_kind;
	ret->errnum = head->errnum;
	memcpy(ret->msg, data + sizeof(*head), sizeof(ret->msg));
	return 0;
}

static bool is_disk_made(const struct lane_reply *reply)
{
	enum drive_kind kind = reply->of.disk_format.drive;

	return kind != DRIVE_NONE && (unsigned)kind < DRIVE_COUNT && (reply->secret != NULL) == (kind == DRIVE_FILE);
}

static bool is_truth_value(const bool *value)
{
	uint8_t byte;

	memcpy(&byte, value, sizeof(byte)); /* another byte than 0 or 1 is no bool, and must not be read as one */
	return byte <= 1;
}

static bool is_good_reply(const struct lane_reply *reply, size_t n_fds)
{
	if (!is_number_of_fds(reply->op, n_fds))
		return false;
	if (reply->op == LANE_OP_DISK_FORMAT)
		return is_disk_made(reply);
	if (reply->secret)
		return false;
	if (reply->op == LANE_OP_VM_START)
		return reply->of.vm_start.build_id != 0;
	if (reply->op == LANE_OP_DISK_DESTROY_KEY)
		return is_truth_value(&reply->of.destroy_key.is_key_destroyed);
	return reply->op != LANE_OP_SWEEP || !reply->of.sweep.vm_id[0] || is_id(reply->of.sweep.vm_id);
}

int lane_reply_decode(const void *data, size_t len, size_t n_fds, struct lane_reply *ret, struct err *ret_fault,
		      uint64_t *ret_seq, struct err *err)
{
	struct lane_reply reply = { 0 };
	struct err fault = { 0 };
	struct head head;
	int r = check_head(data, len, n_fds, &head, "reply", err);

	if (r < 0)
		return r;
	reply.op = (enum lane_op)head.op;
	if (head.err_kind != ERR_NONE)
		r = take_fault(&head, data, len, n_fds, &fault, err);
	else
		r = take(&head, data, len, ops[head.op].reply_len, &reply.of, &reply.secret, err);
	if (r == 0 && head.err_kind == ERR_NONE && !is_good_reply(&reply, n_fds))
		r = err_set(err, ERR_BUG, EBADMSG, "a lane reply '%s' with bad content", ops[head.op].name);
	if (r < 0) {
		lane_reply_clear(&reply);
		return r;
	}
	*ret = reply;
	*ret_fault = fault;
	*ret_seq = head.seq;
	return 0;
}

void lane_reply_clear(struct lane_reply *reply)
{
	forget(&reply->secret, reply->fds, &reply->n_fds);
}

void lane_reply_give_drive(struct lane_reply *reply, struct drive *drive)
{
	reply->of.disk_format.drive = drive->kind;
	reply->fds[0] = take_fd(&drive->fd);
	reply->n_fds = 1;
	if (drive->kind == DRIVE_FILE)
		reply->secret = TAKE_PTR(drive->of.file.key);
	else
		reply->of.disk_format.major = drive->of.node.major, reply->of.disk_format.minor = drive->of.node.minor;
}

void lane_reply_take_drive(struct lane_reply *reply, struct drive *ret)
{
	*ret = (struct drive){ .kind = reply->of.disk_format.drive, .fd = take_fd(&reply->fds[0]) };
	if (ret->kind == DRIVE_FILE)
		ret->of.file.key = TAKE_PTR(reply->secret);
	else
		ret->of.node.major = reply->of.disk_format.major, ret->of.node.minor = reply->of.disk_format.minor;
}
