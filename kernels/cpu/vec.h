/* vec.h - width-generic float vectors: the same source is compiled once per instruction set.
 *
 * CPU_ISA is base, avx2 or avx512 (set by the Makefile); CPU(name) is the name of that build's copy
 * of a function that other files of the folder call. Vectors hold VW floats; loads and stores need
 * no alignment. No intrinsics but max, min and masked access: GCC vector extensions do the rest. */
#ifndef LONGMIX_CPU_VEC_H
#define LONGMIX_CPU_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define CPU_JOIN_(name, isa) name##_##isa
#define CPU_JOIN(name, isa)  CPU_JOIN_(name, isa)
#define CPU(name)            CPU_JOIN(name, CPU_ISA)

#if defined __AVX512F__
enum { VW = 16 };
#elif defined __AVX2__
enum { VW = 8 };
#else
enum { VW = 4 };
#endif

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
typedef float vf_u __attribute__((vector_size(4 * VW), aligned(4), may_alias));

static inline vf vload(const float *p)
{
    return *(const vf_u *)p;
}
static inline void vstore(float *p, vf x)
{
    *(vf_u *)p = x;
}
static inline vf vset(float x)
{
    return x - (vf){0}; /* x - 0 is x for every x, -0 too, so no subtraction is left of it */
}

/* Past the caches: p is a multiple of the vector's size, and the thread ends with _mm_sfence. */
static inline void vstream(float *p, vf x)
{
#if defined __AVX512F__
    _mm512_stream_ps(p, (__m512)x);
#elif defined __AVX2__
    _mm256_stream_ps(p, (__m256)x);
#else
    _mm_stream_ps(p, (__m128)x);
#endif
}

/* m ? a : b, lane by lane; m is all ones or all zeros per lane, as comparisons give it. */
static inline vf vselect(vi m, vf a, vf b)
{
    return (vf)(((vi)a & m) | ((vi)b & ~m));
}

/* a > b ? a : b and a < b ? a : b: the second operand where one is not a number. */
#if defined __AVX512F__
static inline vf vmax(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
static inline vf vmin(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
/* The first n (0..VW) floats at p, zeros behind them; nothing beyond p[n-1] is touched. */
static inline vf vload_n(const float *p, int n)
{
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void vstore_n(float *p, vf x, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
}
#elif defined __AVX2__
static inline vf vmax(vf a, vf b)
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
static inline vf vmin(vf a, vf b)
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
static inline __m256i vmask_n(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vf vload_n(const float *p, int n)
{
    return (vf)_mm256_maskload_ps(p, vmask_n(n));
}
static inline void vstore_n(float *p, vf x, int n)
{
    _mm256_maskstore_ps(p, vmask_n(n), (__m256)x);
}
#else
static inline vf vmax(vf a, vf b)
{
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
}
static inline vf vmin(vf a, vf b)
{
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
}
static inline vf vload_n(const float *p, int n)
{
    float t[VW] = {0};
    for (int i = 0; i < n; i++)
        t[i] = p[i];
    return vload(t);
}
static inline void vstore_n(float *p, vf x, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = x[i];
}
#endif

/* The first four lanes from and to memory; four floats from each of VW / 4 places `step` apart; and
 * for every group of four lanes, x and y interleaved: lower or upper halves, by lanes or pairs. */
#if defined __AVX512F__
static inline vf vload4(const float *p)
{
    return (vf)_mm512_castps128_ps512(_mm_loadu_ps(p));
}
static inline void vstore4(float *p, vf x)
{
    _mm_storeu_ps(p, _mm512_castps512_ps128((__m512)x));
}
static inline vf vload_4s(const float *p, int64_t step)
{
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(p));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(p + step), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(p + 2 * step), 2);
    return (vf)_mm512_insertf32x4(x, _mm_loadu_ps(p + 3 * step), 3);
}
static inline vf vlow(vf x, vf y)
{
    return (vf)_mm512_unpacklo_ps((__m512)x, (__m512)y);
}
static inline vf vhigh(vf x, vf y)
{
    return (vf)_mm512_unpackhi_ps((__m512)x, (__m512)y);
}
static inline vf vlow2(vf x, vf y)
{
    return (vf)_mm512_unpacklo_pd((__m512d)x, (__m512d)y);
}
static inline vf vhigh2(vf x, vf y)
{
    return (vf)_mm512_unpackhi_pd((__m512d)x, (__m512d)y);
}
#elif defined __AVX2__
static inline vf vload4(const float *p)
{
    return (vf)_mm256_castps128_ps256(_mm_loadu_ps(p));
}
static inline void vstore4(float *p, vf x)
{
    _mm_storeu_ps(p, _mm256_castps256_ps128((__m256)x));
}
static inline vf vload_4s(const float *p, int64_t step)
{
    __m256 x = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return (vf)_mm256_insertf128_ps(x, _mm_loadu_ps(p + step), 1);
}
static inline vf vlow(vf x, vf y)
{
    return (vf)_mm256_unpacklo_ps((__m256)x, (__m256)y);
}
static inline vf vhigh(vf x, vf y)
{
    return (vf)_mm256_unpackhi_ps((__m256)x, (__m256)y);
}
static inline vf vlow2(vf x, vf y)
{
    return (vf)_mm256_unpacklo_pd((__m256d)x, (__m256d)y);
}
static inline vf vhigh2(vf x, vf y)
{
    return (vf)_mm256_unpackhi_pd((__m256d)x, (__m256d)y);
}
#else
static inline vf vload4(const float *p)
{
    return vload(p);
}
static inline void vstore4(float *p, vf x)
{
    vstore(p, x);
}
static inline vf vload_4s(const float *p, int64_t step)
{
    (void)step;
    return vload(p);
}
static inline vf vlow(vf x, vf y)
{
    return (vf)_mm_unpacklo_ps((__m128)x, (__m128)y);
}
static inline vf vhigh(vf x, vf y)
{
    return (vf)_mm_unpackhi_ps((__m128)x, (__m128)y);
}
static inline vf vlow2(vf x, vf y)
{
    return (vf)_mm_unpacklo_pd((__m128d)x, (__m128d)y);
}
static inline vf vhigh2(vf x, vf y)
{
    return (vf)_mm_unpackhi_pd((__m128d)x, (__m128d)y);
}
#endif

/* 0, 1, ... VW - 1. */
static inline vi viota(void)
{
    static const int32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi x;
    __builtin_memcpy(&x, lane, sizeof x);
    return x;
}

/* Sums and maxima of the lanes, in one fixed order: halves are folded until one is left. */
static inline float vsum4(__m128 x)
{
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
#if defined __AVX512F__
static inline float vsum(vf x)
{
    __m256d hi = _mm512_extractf64x4_pd((__m512d)x, 1);
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256((__m512)x), (__m256)hi);
    return vsum4(_mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1)));
}
#elif defined __AVX2__
static inline float vsum(vf x)
{
    return vsum4(
        _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1)));
}
#else
static inline float vsum(vf x)
{
    return vsum4((__m128)x);
}
#endif
static inline float vmax4(__m128 x)
{
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}
#if defined __AVX512F__
static inline float vmax1(vf x)
{
    __m256 hi = (__m256)_mm512_extractf64x4_pd((__m512d)x, 1);
    __m256 y = _mm256_max_ps(_mm512_castps512_ps256((__m512)x), hi);
    return vmax4(_mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1)));
}
#elif defined __AVX2__
static inline float vmax1(vf x)
{
    return vmax4(
        _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1)));
}
#else
static inline float vmax1(vf x)
{
    return vmax4((__m128)x);
}
#endif

#endif
