/* What GNU's libgcc asks of the C library so that it can unwind the stack after a panic, for musl: see
 * .ci/static. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* libgcc refers to these weakly, calls them all when it finds one of them, and a weak reference takes
 * nothing out of a static library. */
__attribute__((used)) static void *const needed[] = {
    pthread_once,       pthread_mutex_lock,  pthread_mutex_unlock,
    pthread_key_create, pthread_getspecific, pthread_setspecific,
};

/* The interface as glibc documents it (`_dl_find_object`); musl has no header for it. */
struct dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[7];
};

struct search {
    uintptr_t pc;
    struct dl_find_object *found;
};

static int look(struct dl_phdr_info *info, size_t size, void *data) {
    struct search *search = data;
    uintptr_t start = 0, end = 0, table = 0;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && search->pc >= at && search->pc < at + header->p_memsz) {
            start = at;
            end = at + header->p_memsz;
        } else if (header->p_type == PT_GNU_EH_FRAME) {
            table = at;
        }
    }
    if (!end || !table)
        return 0;
    search->found->flags = 0;
    search->found->map_start = (void *)start;
    search->found->map_end = (void *)end;
    search->found->link_map = NULL;
    search->found->eh_frame = (void *)table;
    return 1;
}

int _dl_find_object(void *pc, struct dl_find_object *result) {
    struct search search = {(uintptr_t)pc, result};
    return dl_iterate_phdr(look, &search) ? 0 : -1;
}
