/* plugin.h - a backend that comes as a shared library, liblongmix_NAME.so beside the program. */
#ifndef LONGMIX_PLUGIN_H
#define LONGMIX_PLUGIN_H

#include "kernels/device.h"

/* What the library exports, under the name "longmix_plugin". */
typedef struct Plugin {
    const char *build_id; /* must equal longmix_build_id: the tables are laid out alike */
    const Backend *backend;
} Plugin;

bool plugin_there(const char *name); /* is there such a file? */
/* Opens the library once and keeps it. ST_USAGE for a name no backend has, ST_DEVICE with the
 * reason when the library is missing, broken or from another build. */
Status plugin_open(const char *name, const Backend **out);

#endif
