/* safetensors.h - named tensors in a file, as Hugging Face's safetensors lays them out:
 * 8 bytes of header length (little-endian), a JSON object, the data.
 *
 * Reading trusts nothing: every fault of a file ends in one line that names the file, the tensor
 * and what is allowed. An open file is wholly in memory. */
#ifndef LONGMIX_SAFETENSORS_H
#define LONGMIX_SAFETENSORS_H

#include "kernels/base.h"

enum { SAFE_MAX_RANK = 8 };

typedef enum StDtype { SAFE_F32, SAFE_F64, SAFE_I32, SAFE_I64, SAFE_U8, N_SAFE_DTYPES } StDtype;

typedef struct StTensor {
    const char *name;
    StDtype dtype;
    int rank; /* 0: a scalar */
    int64_t dim[SAFE_MAX_RANK];
    const void *data;    /* row-major, aligned to its element */
    size_t size, offset; /* bytes of data and before it; st_write works them out by itself */
} StTensor;

typedef struct StMeta {
    const char *key, *value; /* UTF-8 */
} StMeta;

/* An open file. Zero is a valid empty value. st_close ends the life of all that it lent out. */
typedef struct StFile {
    char *path;
    StTensor *tensor; /* in the order of the data */
    int n_tensors;
    void *data;
    size_t data_size;      /* bytes */
    struct json_t *header; /* owns names and metadata */
} StFile;

/* Fails: ST_IO; ST_USAGE for a file that breaks the format; ST_UNSUPPORTED for other dtypes, a rank
 * above SAFE_MAX_RANK or unaligned data; ST_OOM. *out is zero then. */
Status st_open(const char *path, StFile *out);
void st_close(StFile *f);

const StTensor *st_find(const StFile *f, const char *name); /* NULL: no such tensor */
const char *st_meta(const StFile *f, const char *key);      /* NULL: no such key */

/* The data of a tensor that must be there with this dtype and shape. Fails: ST_USAGE. */
Status st_get(const StFile *f, const char *name, StDtype dtype, int rank, const int64_t dim[],
              const void **data);

/* Fails: ST_NONFINITE, naming the first NaN or infinite element. */
Status st_check_finite(const StFile *f);

/* Replaces path with these tensors and metadata, or leaves it as it was: written beside it, synced,
 * then renamed. Wide elements are stored first, which keeps all of them aligned. Names must differ.
 * Fails: ST_IO, a full disk for one; ST_USAGE for text that is not UTF-8; ST_OOM. */
Status st_write(const char *path, const StTensor *tensor, int n_tensors, const StMeta *meta,
                int n_meta);

#endif
