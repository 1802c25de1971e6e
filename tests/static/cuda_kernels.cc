// cuda_kernels.cc - what stands in the table cuda_kernels.txt, from cubins and launches.
// Usage: cuda_kernels LAUNCHES REGISTERS ARCH:CUBIN...
//
// LAUNCHES has lines "name threads shared" (mangled), as the emulator saw them; REGISTERS lines
// "name arch registers", as ptxas told them. Prints a line for every kernel: its name, threads of a block, bytes of shared memory, registers and blocks that a
// multiprocessor holds at once for each architecture, and T if it has tensor-core instructions, A
// if asynchronous copies, L if it touches local memory. Instructions are told by their low 12 bits,
// which is observed and not documented: cuda.sh looks for them in the PTX as well.
#include <cuda_occupancy.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <elf.h>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

enum { HMMA = 0x23c, LDGSTS = 0xfae, LDL = 0x983, STL = 0x387, INSTRUCTION = 16 };

struct Built {
    int registers = 0;
    bool tensor = false, copies = false, local = false;
};
struct Kernel {
    int threads = 0, shared = 0;
    std::map<int, Built> built; // by architecture
};
using Kernels = std::map<std::string, Kernel>;

static void die(const std::string &why)
{
    std::cerr << "cuda_kernels: " << why << "\n";
    exit(2);
}

static void replace_all(std::string &s, const std::string &from, const std::string &to)
{
    for (size_t at = 0; (at = s.find(from, at)) != std::string::npos; at += to.size())
        s.replace(at, from.size(), to);
}

// "void pairs_kernel<(Math)2, 1, (PairsRole)0>(Pairs)" becomes pairs_kernel<bf16,1,0>.
static std::string short_name(const std::string &mangled)
{
    int status = 0;
    char *plain = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
    std::string s = plain != nullptr ? plain : mangled;
    free(plain);
    if (s.compare(0, 5, "void ") == 0)
        s.erase(0, 5);
    replace_all(s, "(Math)0", "float32");
    replace_all(s, "(Math)1", "tf32");
    replace_all(s, "(Math)2", "bf16");
    replace_all(s, " ", "");
    for (size_t at; (at = s.find("<(")) != std::string::npos || (at = s.find(",(")) != std::string::npos;)
        s.erase(at + 1, s.find(')', at) - at); // (PairsRole)0
    const size_t types = s.find('>') != std::string::npos ? s.rfind(">(") + 1 : s.find('(');
    return s.substr(0, types);
}

static void census(const std::vector<char> &file, const Elf64_Shdr &code, Built &b)
{
    for (size_t at = 0; at + INSTRUCTION <= code.sh_size; at += INSTRUCTION) {
        uint64_t word;
        memcpy(&word, &file[code.sh_offset + at], sizeof word);
        const int op = word & 0xfff;
        b.tensor |= op == HMMA;
        b.copies |= op == LDGSTS;
        b.local |= op == LDL || op == STL;
    }
}

static void read_cubin(const std::string &arg, Kernels &kernels)
{
    const size_t colon = arg.find(':');
    const int arch = atoi(arg.c_str());
    std::ifstream in(arg.substr(colon + 1), std::ios::binary);
    const std::vector<char> file((std::istreambuf_iterator<char>(in)), {});
    Elf64_Ehdr head;
    if (colon == std::string::npos || file.size() < sizeof head)
        die("cannot read " + arg);
    memcpy(&head, file.data(), sizeof head);
    std::vector<Elf64_Shdr> sections(head.e_shnum);
    memcpy(sections.data(), &file[head.e_shoff], head.e_shnum * sizeof sections[0]);
    const char *names = &file[sections[head.e_shstrndx].sh_offset];
    for (const Elf64_Shdr &s : sections) {
        const std::string name = names + s.sh_name;
        if (name.compare(0, 6, ".text.") == 0)
            census(file, s, kernels[name.substr(6)].built[arch]);
    }
}

static void read_launches(const char *path, Kernels &kernels)
{
    std::ifstream in(path);
    std::string name;
    for (int threads, shared; in >> name >> threads >> shared;) {
        const auto k = kernels.find(name);
        if (k == kernels.end())
            continue; // a function at the same place
        k->second.threads = std::max(k->second.threads, threads);
        k->second.shared = std::max(k->second.shared, shared);
    }
}

static void read_registers(const char *path, Kernels &kernels)
{
    std::ifstream in(path);
    std::string name;
    for (int arch, registers; in >> name >> arch >> registers;)
        kernels[name].built[arch].registers = registers;
}

// From the tables of compute capabilities in the CUDA programming guide.
static cudaOccDeviceProp device(int arch)
{
    const bool small = arch == 120;
    const int shared = (small ? 100 : arch == 80 ? 164 : 228) << 10;
    cudaOccDeviceProp p;
    p.computeMajor = arch / 10;
    p.computeMinor = arch % 10;
    p.maxThreadsPerBlock = 1024;
    p.maxThreadsPerMultiprocessor = small ? 1536 : 2048;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32;
    p.sharedMemPerBlock = 48 << 10;
    p.sharedMemPerMultiprocessor = shared;
    p.sharedMemPerBlockOptin = shared - 1024;
    p.reservedSharedMemPerBlock = 1024;
    p.numSms = 100;
    return p;
}

static int blocks_at_once(int arch, int registers, int threads, int shared)
{
    const cudaOccDeviceProp p = device(arch);
    cudaOccFuncAttributes f;
    cudaOccDeviceState state;
    cudaOccResult r;
    f.maxThreadsPerBlock = threads;
    f.numRegs = registers;
    f.sharedSizeBytes = 0;
    f.partitionedGCConfig = PARTITIONED_GC_OFF;
    f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    f.maxDynamicSharedSizeBytes = p.sharedMemPerBlockOptin;
    f.numBlockBarriers = 1;
    state.cacheConfig = CACHE_PREFER_NONE;
    state.carveoutConfig = SHAREDMEM_CARVEOUT_DEFAULT;
    const int e = cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &f, &state, threads, shared);
    if (e != CUDA_OCC_SUCCESS)
        die("occupancy of sm_" + std::to_string(arch) + ": error " + std::to_string(e));
    return r.activeBlocksPerMultiprocessor;
}

int main(int argc, char **argv)
{
    Kernels kernels;
    for (int i = 3; i < argc; i++)
        read_cubin(argv[i], kernels);
    if (argc < 4 || kernels.empty())
        die("no cubins");
    read_launches(argv[1], kernels);
    read_registers(argv[2], kernels);
    for (const auto &[name, k] : kernels) {
        bool tensor = true, copies = true, local = false;
        printf("%s %d %d", short_name(name).c_str(), k.threads, k.shared);
        for (const auto &[arch, b] : k.built) {
            printf(" %d:%d/%d", arch, b.registers,
                   k.threads > 0 ? blocks_at_once(arch, b.registers, k.threads, k.shared) : 0);
            tensor &= b.tensor;
            copies &= b.copies;
            local |= b.local;
        }
        printf(" %s%s%s%s\n", tensor ? "T" : "", copies ? "A" : "", local ? "L" : "",
               tensor || copies || local ? "" : "-");
    }
    return 0;
}
