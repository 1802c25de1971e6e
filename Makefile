# Longmix. Sources are found by wildcard, all that is built lands in build/: a new variant, dataset
# or test is a new file and needs no edit here. `make help` lists the targets.

# ---- settings: make NAME=value -----------------------------------------------------------------
# CC       gcc or clang
# WERROR   1: a warning is an error
# SAN      address (with undefined behaviour) or thread; goes to build/asan or build/tsan
# TESTS    which tests to run, by name: make test TESTS="tape rng" runs tests/test_{tape,rng}.c
# GATES    which gates of `make check` to run: make check GATES=format runs tests/static/format.sh
# BUGS     which planted bugs, by name: make mutations BUGS="causal_sees_next"
# NAME     of the variant that make new-variant begins
# LIMIT    seconds that one test binary may take
# WRAP     what to run the tests under, such as valgrind
# PEER     what `make peers` compares with: a program that speaks the protocol of bench/sampler.h
# PROFILE  which sweep `make bench` runs
# BASE     the revision that `make regress` compares with; empty: see bench/regress.sh
# COMPARE  more options of `longmix compare`: make regress COMPARE="--variants gau --plot plots"
# SETUP    what looks for missing packages; `make SETUP=:` looks for none
# FUZZ_SECONDS  how long `make fuzz` runs each fuzzer
# NVCC     CUDA's compiler; found on the PATH, in CUDA_HOME or /usr/local/cuda. NVCC= builds without,
#          and so does CUDA_HOME=none in the environment
# ARCHS    what the CUDA plugin is built for, such as "80 90"; else the devices that are here
# V        1: show the commands
ifeq ($(origin CC),default)
CC       = gcc
endif
LIMIT    = 600
PROFILE  = quick
FUZZ_SECONDS = 600
SETUP    = sh bench/setup.sh
PYTHON   = /usr/bin/python3
PEER     = bench/peer_torch.py
RESULTS  = results/$(PROFILE).jsonl
BENCH    = bench --profile $(PROFILE) --out $(RESULTS)
TRUST    = results/selftest.json
REPORT   = report $(RESULTS) --out RESULTS.md --plots report/plots \
           $(if $(wildcard $(TRUST)),--selftest $(TRUST))
TEXT     = build/data/kjv.txt
BASELINE = tests/baseline.json
BASE     =
COMPARE  =

BUILD_address = build/asan
BUILD_thread  = build/tsan
BUILD         = $(or $(BUILD_$(SAN)),build)
O             = $(BUILD)/obj

# ---- flags -------------------------------------------------------------------------------------
SAN_address = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SAN_thread  = -fsanitize=thread

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
       -Wmissing-prototypes -Wvla -Wdouble-promotion -Wundef -Wwrite-strings -Wpointer-arith \
       -Wformat=2 $(if $(WERROR),-Werror)

# Debian keeps OpenBLAS's OpenMP build apart; its default, the pthread build, fights with OpenMP.
BLAS_INCLUDE = $(wildcard /usr/include/*/openblas-openmp /usr/include/openblas)
BLAS_LIB     = $(wildcard /usr/lib/*/openblas-openmp)

COMMON = -g -fopenmp -I. -D_POSIX_C_SOURCE=200809L $(BLAS_INCLUDE:%=-isystem%) \
         $(SAN_$(SAN)) $(CFLAGS)
LIBS   = $(BLAS_LIB:%=-L%) $(BLAS_LIB:%=-Wl,-rpath,%) -lopenblas -ljansson -llzma -lz -lmd -lm -lpthread -ldl

# kernels/cpu is compiled once for each instruction set and chosen at start; kernels/ref, which
# everything is tested against, computes just what is written. No fast-math anywhere.
MODE       = -std=c11 -O2
MODE_ref   = -std=c11 -O2 -ffp-contract=off
MODE_cpu   = -std=gnu11 -O3 -ffp-contract=fast -Wno-psabi
ISAS       = base avx2 avx512
ISA_avx2   = -mavx2 -mfma -mbmi2 -mf16c
ISA_avx512 = -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mavx2 -mprefer-vector-width=512

FLAGS_TOLD := $(strip $(MODE) $(COMMON); ref: $(MODE_ref); cpu: $(MODE_cpu); \
                      avx2: $(ISA_avx2); avx512: $(ISA_avx512))

# ---- CUDA: a plugin, and the same sources on the CPU for tests ------------------------------------
CXX       = g++
NVCC     := $(if $(filter none,$(CUDA_HOME)),,$(firstword $(wildcard \
                $(addsuffix /nvcc,$(subst :, ,$(PATH)) $(CUDA_HOME:%=%/bin) /usr/local/cuda/bin))))
CUDA_LIB  = $(patsubst %/bin/nvcc,%/lib64,$(NVCC))
ARCHS    := $(if $(NVCC),$(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader \
                                  2>/dev/null | tr -d . | sort -u))
# No device here: sm_80 and its PTX, which later devices translate when they first see it.
GENCODE   = $(foreach a,$(ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
            $(if $(ARCHS),,-gencode arch=compute_80,code=[sm_80,compute_80])
NVFLAGS   = -std=c++20 -O3 -lineinfo -I. $(GENCODE) $(if $(WERROR),-Werror all-warnings) \
            -Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers,-fPIC,-fvisibility=hidden -DLONGMIX_CUDA_NAME='"cuda"'
CUDA      = $(wildcard kernels/cuda/*.cu)
# Is there a device to run on?
GPU      := $(wildcard /dev/nvidiactl /dev/dxg)
PLUGIN    = $(if $(NVCC),$(BUILD)/liblongmix_cuda.so)

# The emulator in three builds: plain, and with the CUDA sources under two sanitizers (its own
# fibers are not instrumented for the thread sanitizer, but tell it what they do).
EMU_CC    = $(wildcard tests/cuda_emu/*.cc)
EMU_FLAGS = -std=c++20 -g -fPIC -fvisibility=hidden -Itests/cuda_emu/include -I. \
            -DLONGMIX_CUDA_NAME='"emu"' $(WARN_CXX)
WARN_CXX  = -Wall -Wextra -Wno-missing-field-initializers -Wno-unknown-pragmas $(if $(WERROR),-Werror)
EMUS      = plain asan tsan
EMU_OPT_plain = -O2 $(SAN_$(SAN))
EMU_OPT_asan  = -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
EMU_OPT_tsan  = -O1 -fsanitize=thread
EMU_OWN_plain = $(EMU_OPT_plain)
EMU_OWN_asan  = $(EMU_OPT_asan)
EMU_OWN_tsan  = -O2 -DEMU_TSAN

# ---- files -------------------------------------------------------------------------------------
PARTS    = kernels variants datasets report bench
CPU_ONCE = $(wildcard kernels/cpu/host_*.c)
CPU_EACH = $(filter-out $(CPU_ONCE),$(wildcard kernels/cpu/*.c))
SOURCES  = $(filter-out bench/main.c $(CPU_EACH),$(wildcard $(PARTS:%=%/*.c) $(PARTS:%=%/*/*.c)))
OBJECTS  = $(SOURCES:%.c=$(O)/%.o) $(foreach isa,$(ISAS),$(CPU_EACH:%.c=$(O)/%.$(isa).o)) \
           $(O)/variants_table.o $(O)/build_id.o

ALL_TESTS = $(patsubst tests/test_%.c,%,$(wildcard tests/test_*.c))
TESTS     = $(ALL_TESTS)
SUPPORT   = $(patsubst %.c,$(O)/%.o,\
                $(filter-out tests/test_%.c tests/%_main.c,$(wildcard tests/*.c)))

# Tests without a test framework, as plain programs beside each emulator and beside the plugin.
SUPPORT_PLAIN = $(patsubst %.c,$(O)/%.o,$(wildcard tests/duo*.c tests/law*.c) tests/stand.c \
                                        tests/elsewhere.c)
ON_DEVICE = $(BUILD)/emu_main $(BUILD)/variants_main

ALL_GATES = $(patsubst tests/static/%.sh,%,$(wildcard tests/static/*.sh))
GATES     = $(filter-out long_%,$(ALL_GATES))

FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,\
              $(filter-out tests/fuzz/input.c,$(wildcard tests/fuzz/*.c)))
# What fuzzers follow the branches of; the rest comes from the library as it is.
FUZZED  = tests/fuzz/input.c kernels/base.c bench/parse.c variants/template/mixer.c \
          $(wildcard report/row_*.c report/line.c report/journal.c report/fields.c \
                     report/validate.c datasets/*.c)

# ---- targets -----------------------------------------------------------------------------------
.PHONY: all help setup text bench decode peers report regress baseline selftest binaries test mutations check check-all
.PHONY: fuzz golden format clean new-variant FORCE
.SECONDARY:
.DELETE_ON_ERROR:
ifeq ($(MAKELEVEL)$(filter clean,$(MAKECMDGOALS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

all: $(BUILD)/longmix $(PLUGIN)  ## the program, build/longmix (what plain `make` does)

bench: $(BUILD)/longmix $(if $(GPU),$(PLUGIN)) text ## sweep, then RESULTS.md and plots
	@s=0; $(BUILD)/longmix $(BENCH) || s=$$?; \
	if [ -n "$(GPU)" ] && [ $$s -le 1 ] && $(PEER) --try cuda; then \
	    $(BUILD)/longmix bench --peer $(PEER) --out $(RESULTS) || s=$$?; fi; \
	if [ $$s -le 1 ]; then $(BUILD)/longmix $(REPORT) || s=$$?; fi; exit $$s

decode: $(BUILD)/longmix        ## one token by model size, dense and sparse, into the same results
	$(BUILD)/longmix bench --profile decode --out $(RESULTS) && $(BUILD)/longmix $(REPORT)

report: $(BUILD)/longmix        ## RESULTS.md and plots again, from the results there are
	$(BUILD)/longmix $(REPORT)

regress: $(BUILD)/longmix       ## slower, larger or wrong? facts against a file, times against BASE
	@sh bench/regress.sh $(BUILD)/longmix $(BASELINE) "$(BASE)" $(COMPARE)

baseline: $(BUILD)/longmix      ## write that file again: work, memory and results of all variants
	$(BUILD)/longmix baseline write $(BASELINE)

selftest: $(BUILD)/longmix      ## how often comparisons are right here, for the report: 25 minutes
	$(BUILD)/longmix selftest stats --out $(TRUST)

peers: $(BUILD)/longmix         ## some cases beside PyTorch, where it is; then the report again
	@$(PEER) --try && $(BUILD)/longmix bench --peer $(PEER) --out $(RESULTS) && \
	$(BUILD)/longmix $(REPORT)

test: binaries                  ## all tests, or those of TESTS="name ..."
	@LONGMIX=$(BUILD)/longmix sh tests/run.sh $(LIMIT) "$(WRAP)" $(TESTS:%=$(BUILD)/tests/test_%)

binaries: $(BUILD)/longmix $(TESTS:%=$(BUILD)/tests/test_%) ## the program and the tests, run none

new-variant:                    ## begins variants/foo.c: make new-variant NAME=foo
	@sh variants/new.sh $(NAME)

mutations: $(BUILD)/longmix     ## plants bugs in a copy, one at a time: the tests must see each
	+@sh tests/mutations/run.sh $(BUILD) $(BUGS)

check:                          ## the gates: format, lint, layers, warnings, sanitizers
check-all: GATES = $(ALL_GATES) ## those and the long ones: every instruction set, valgrind, threads
check check-all: setup
	+@failed=; for gate in $(GATES); do \
	    echo "== $$gate"; sh tests/static/$$gate.sh || failed="$$failed $$gate"; \
	done; \
	echo "gates: $(words $(GATES)), failed:$${failed:- none}"; test -z "$$failed"

fuzz: $(FUZZERS)                ## every parser against a fuzzer, FUZZ_SECONDS each
	sh tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZERS)

check-cuda: $(BUILD)/longmix $(PLUGIN) $(ON_DEVICE) ## the battery on a GPU, its log in results/
	@s=0; sh tests/check_cuda.sh $(BUILD) || s=$$?; \
	if [ $$s = 77 ]; then echo "check-cuda: SKIPPED"; else exit $$s; fi

golden:                         ## the golden vectors of the tests again (needs python3 and numpy)
	for script in tests/golden/*.py; do $(PYTHON) $$script || exit 1; done

format:                         ## all sources through clang-format
	sh tests/static/format.sh -i

text: $(TEXT)                   ## the text that models are trained on
$(TEXT): datasets/kjv.sh | setup
	@mkdir -p $(@D)
	@sh datasets/kjv.sh $@ || echo "no text: give your own with \`longmix bench --data FILE\`"

setup:                          ## install the packages that are missing, or say which
	@$(SETUP) $(foreach goal,$(MAKECMDGOALS),$(NEEDS_$(goal)))
NEEDS_setup     = run
NEEDS_bench     = run
NEEDS_report    = run
NEEDS_regress   = run
NEEDS_baseline  = run
NEEDS_text      = run
NEEDS_test      = test
NEEDS_binaries  = test
NEEDS_check-cuda = test
NEEDS_mutations = test
NEEDS_check     = check
NEEDS_check-all = check
NEEDS_fuzz      = check

clean:                          ## remove build/
	rm -rf build

.PHONY: print-nvcc check-cuda
print-nvcc:
	@echo $(NVCC)

help:                           ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

# ---- rules -------------------------------------------------------------------------------------
Q = $(if $(V),,@)

define compile
@mkdir -p $(@D)
@echo "  cc   $(@:$(O)/%=%)"
$(Q)$(CC) $(MODE) $(ISA) $(COMMON) $(WARN) -MMD -MP -c $< -o $@
endef

define link
@mkdir -p $(@D)
@echo "  link $@"
$(Q)$(CC) $(MODE) $(COMMON) -rdynamic $(filter %.o %.a,$^) $(LDFLAGS) $(LIBS) -o $@
endef

# Prints a file with a command, and leaves it untouched when nothing changed.
define refresh
@mkdir -p $(@D)
@$(1) > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef

$(O)/kernels/ref/%.o: MODE = $(MODE_ref)
$(O)/kernels/cpu/%.o: MODE = $(MODE_cpu)

$(O)/%.o: %.c $(BUILD)/flags | setup
	$(compile)
$(O)/%.o: $(BUILD)/%.c $(BUILD)/flags | setup
	$(compile)
define isa_rule
$(O)/kernels/cpu/%.$(1).o: ISA = -DCPU_ISA=$(1) $(ISA_$(1))
$(O)/%.$(1).o: %.c $(BUILD)/flags | setup
	$$(compile)
endef
$(foreach isa,$(ISAS),$(eval $(call isa_rule,$(isa))))

$(BUILD)/longmix: $(O)/bench/main.o $(O)/longmix.a
	$(link)
$(BUILD)/tests/test_%: LIBS += -lcriterion
$(BUILD)/tests/test_%: $(O)/tests/test_%.o $(SUPPORT) $(O)/longmix.a
	$(link)
# The same programs as beside the emulators; the real plugin stands beside these.
$(ON_DEVICE): $(BUILD)/%: $(O)/tests/%.o $(SUPPORT_PLAIN) $(O)/longmix.a
	$(link)
# Its functions stand before the micro-kernel's and count.
$(BUILD)/tests/test_executed: LDFLAGS += $(ISAS:%=-Wl,--wrap=tile_mm_%)
$(BUILD)/tests/tsan_main: $(O)/tests/tsan_main.o $(O)/longmix.a
	$(link)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZED) $(O)/longmix.a
	@mkdir -p $(@D)
	@echo "  fuzz $@"
	$(Q)clang $(MODE) $(filter-out -fopenmp,$(COMMON)) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined $(filter %.c,$^) $(O)/longmix.a $(LIBS) -fopenmp=libgomp -o $@
$(BUILD)/tests/test_emu_battery: $(BUILD)/emu-plain/variants_main
$(BUILD)/tests/test_emu: $(EMUS:%=$(BUILD)/emu-%/emu_main) $(EMUS:%=$(BUILD)/emu-%/faults) \
                        $(BUILD)/tests/liblongmix_emu.so
$(BUILD)/tests/test_gpu $(BUILD)/tests/test_gpu_bench: $(BUILD)/tests/liblongmix_emu.so $(BUILD)/tests/libnvidia-ml.so.1 \
                        $(BUILD)/tests/gpu/longmix
$(O)/longmix.a: $(OBJECTS)
	@rm -f $@ && ar qcs $@ $^

# Every emulator stands beside a program of its own: a plugin is looked for there.
define emu_rules
$(BUILD)/emu-$(1)/%.cu.o: %.cu $(BUILD)/emu_flags | setup
	@mkdir -p $$(@D)
	@echo "  emu  $$(@:$(BUILD)/%=%)"
	$$(Q)$(CXX) -x c++ $(EMU_FLAGS) $(EMU_OPT_$(1)) -MMD -MP -c $$< -o $$@
$(BUILD)/emu-$(1)/%.cc.o: %.cc $(BUILD)/emu_flags | setup
	@mkdir -p $$(@D)
	$$(Q)$(CXX) $(EMU_FLAGS) $$(EMU_OWN) -MMD -MP -c $$< -o $$@
$(BUILD)/emu-$(1)/%.cc.o: EMU_OWN = $$(EMU_OWN_$(1))
$(BUILD)/emu-$(1)/tests/cuda_emu/async.cc.o: EMU_OWN = $$(EMU_OPT_$(1))
$(BUILD)/emu-$(1)/liblongmix_emu.so: $(CUDA:%=$(BUILD)/emu-$(1)/%.o) \
                                     $(EMU_CC:%=$(BUILD)/emu-$(1)/%.o) $(O)/build_id.pic.o
	$$(Q)$(CXX) -shared $(EMU_OPT_$(1)) $$^ -o $$@
$(BUILD)/emu-$(1)/emu_main $(BUILD)/emu-$(1)/variants_main: $(BUILD)/emu-$(1)/%: \
        $(O)/tests/%.o $(SUPPORT_PLAIN) $(O)/longmix.a $(BUILD)/emu-$(1)/liblongmix_emu.so
	@echo "  link $$@"
	$$(Q)$(CC) $(COMMON) $(EMU_OPT_$(1)) -rdynamic $$(filter %.o %.a,$$^) $(LDFLAGS) $(LIBS) -o $$@
$(BUILD)/emu-$(1)/faults: $(BUILD)/emu-$(1)/tests/cuda_emu/faults.cu.o \
                          $(EMU_CC:%=$(BUILD)/emu-$(1)/%.o) $(O)/kernels/base.o
	@echo "  link $$@"
	$$(Q)$(CXX) $(EMU_OPT_$(1)) $$^ -o $$@
-include $(BUILD)/emu-$(1)/tests/cuda_emu/faults.cu.d
-include $(CUDA:%.cu=$(BUILD)/emu-$(1)/%.cu.d) $(EMU_CC:%.cc=$(BUILD)/emu-$(1)/%.cc.d)
endef
$(foreach emu,$(EMUS),$(eval $(call emu_rules,$(emu))))
$(BUILD)/tests/liblongmix_emu.so: $(BUILD)/emu-plain/liblongmix_emu.so
	@mkdir -p $(@D)
	@ln -f $< $@
# A program that takes the emulator for a GPU, and the library that tells of clocks.
$(BUILD)/tests/gpu/longmix: $(BUILD)/longmix $(BUILD)/emu-plain/liblongmix_emu.so
	@mkdir -p $(@D)
	@ln -f $(BUILD)/emu-plain/liblongmix_emu.so $(@D)/liblongmix_emu.so
	@ln -f $(BUILD)/emu-plain/liblongmix_emu.so $(@D)/liblongmix_cuda.so
	@ln -f $< $@
$(BUILD)/tests/libnvidia-ml.so.1: tests/cuda_emu/nvml.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(MODE) $(WARN) -shared -fPIC -Wl,-soname,$(@F) $< -o $@
$(O)/build_id.pic.o: $(BUILD)/build_id.c $(BUILD)/flags | setup
	@mkdir -p $(@D)
	$(Q)$(CC) $(MODE) -fPIC -fvisibility=hidden -I. -c $< -o $@

$(O)/%.cu.o: %.cu $(BUILD)/cuda_flags | setup
	@mkdir -p $(@D)
	@echo "  nvcc $(@:$(O)/%=%)"
	$(Q)$(NVCC) $(NVFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/liblongmix_cuda.so: $(CUDA:%=$(O)/%.o) $(O)/build_id.pic.o
	@echo "  link $@"
	$(Q)$(NVCC) -shared -cudart static $(GENCODE) $^ -L$(CUDA_LIB) -lcublasLt \
	    -Xlinker -rpath,$(CUDA_LIB) -o $@
$(BUILD)/emu_flags: FORCE
	$(call refresh,echo '$(CXX) $(EMU_FLAGS) $(foreach e,$(EMUS),$(EMU_OPT_$(e)) $(EMU_OWN_$(e)))')
$(BUILD)/cuda_flags: FORCE
	$(call refresh,echo '$(NVCC) $(NVFLAGS)')
-include $(CUDA:%.cu=$(O)/%.cu.d)

$(BUILD)/flags: FORCE
	$(call refresh,echo '$(CC) $(FLAGS_TOLD) $(WARN)')
$(BUILD)/variants_table.c: FORCE
	$(call refresh,sh variants/table.sh)
$(BUILD)/build_id.c: FORCE | setup
	$(call refresh,sh kernels/build_id.sh "$(CC)" "$(FLAGS_TOLD)")

-include $(OBJECTS:.o=.d) $(SUPPORT:.o=.d) $(O)/bench/main.d $(ON_DEVICE:$(BUILD)/%=$(O)/tests/%.d) $(ALL_TESTS:%=$(O)/tests/test_%.d)
