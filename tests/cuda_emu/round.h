/* round.h - float32 rounded as the tensor cores' operand types hold it. */
#ifndef LONGMIX_EMU_ROUND_H
#define LONGMIX_EMU_ROUND_H

#include <cstdint>
#include <cstring>

namespace emu
{
/* Upper bits kept, to nearest, ties to even; NaN stays NaN. */
inline float round_bits(float x, int dropped)
{
    uint32_t b;
    memcpy(&b, &x, 4);
    if ((b & 0x7fffffffu) > 0x7f800000u)
        return x;
    b += (1u << (dropped - 1)) - 1 + (b >> dropped & 1);
    b &= ~0u << dropped;
    memcpy(&x, &b, 4);
    return x;
}
inline float round_bf16(float x)
{
    return round_bits(x, 16);
}
inline float round_tf32(float x)
{
    return round_bits(x, 13);
}
} // namespace emu

#endif
