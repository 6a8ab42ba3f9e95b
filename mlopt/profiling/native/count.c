/* A plugin for qemu-user: counts the guest's instructions between two marks, once for each inference.
 *
 * The runner marks by a system call that no kernel knows (see marks.h). A block of translated code adds its length when
 * it is entered; nothing leaves a block early but a fault, and an inference raises none. Only functions that kept their
 * form from plugin interface 1 (qemu 5) on are used, declared here because distributions ship no header.
 * PLUGIN_INTERFACE is the number that build.py found this qemu to accept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marks.h"

struct qemu_plugin_tb;
typedef uint64_t plugin_id;
enum { NO_REGISTERS = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *block, void (*call)(unsigned cpu, void *data), int registers, void *data);
void qemu_plugin_register_vcpu_syscall_cb(
    plugin_id id, void (*call)(plugin_id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_INTERFACE;

static uint64_t counted; /* by every thread of the guest while a mark is open */
static int open_mark;
static FILE *out;

static void enter_block(unsigned cpu, void *instructions)
{
    (void)cpu;
    if (__atomic_load_n(&open_mark, __ATOMIC_RELAXED))
        __atomic_fetch_add(&counted, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translate(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    void *instructions = (void *)(uintptr_t)qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, enter_block, NO_REGISTERS, instructions);
}

static void system_call(plugin_id id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != AARCH64_PRCTL || a1 != MARK)
        return;
    if (a2 == MARK_BEGIN) {
        __atomic_store_n(&counted, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&open_mark, 1, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&open_mark, 0, __ATOMIC_RELAXED);
        fprintf(out, "%" PRIu64 "\n", __atomic_load_n(&counted, __ATOMIC_RELAXED));
    }
}

static void finish(plugin_id id, void *data)
{
    (void)id, (void)data;
    fputs("end\n", out); /* a list without it was cut off */
    fclose(out);
}

/* The one argument is out=FILE. `info` describes the guest; nothing of it is needed. */
__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (out = fopen(argv[0] + 4, "w")) == NULL) {
        fputs("count plugin: needs out=FILE, a file that can be written\n", stderr);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
