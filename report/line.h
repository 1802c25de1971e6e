/* line.h - the checksum member of a line. Private to report/. */
#ifndef LONGMIX_LINE_H
#define LONGMIX_LINE_H

#include "kernels/base.h"

enum { CRC_MEMBER = 17, /* bytes of `,"crc":"01234567"` */ ROW_MAX_LINE = 1 << 20 };

/* CRC-32 of len bytes and a closing brace. */
uint32_t line_crc(const char *line, size_t len);

#endif
