# dsvl2: DeepSeek-VL2 inside PostgreSQL
#
#	make                 the extension and the dsvl2 tool
#	make install         both, and the nano model
#	make installcheck    SQL regression tests against a running server
#	make check-unit      engine and kernels, no server
#	make check-golden    against the reference implementation's vectors
#	make check-tap       servers made and thrown away by the tests
#	make bench           every figure of doc/SPEED.md, beside the machine's limits; an hour and 40 GB of disk
#
# PG_CONFIG chooses the server; COPT=-Werror is what CI adds.

EXTENSION = dsvl2
MODULE_big = dsvl2
DATA = sql/dsvl2--0.1.0.sql

KERNEL_SRCS = $(wildcard src/kernels/*.c)
ENGINE_SRCS = $(wildcard src/engine/*.c)
PG_SRCS = $(wildcard src/pg/*.c)
TOOL_SRCS = $(wildcard src/tool/*.c)
UNIT_SRCS = $(wildcard test/unit/test_*.c)

ENGINE_OBJS = $(KERNEL_SRCS:.c=.o) $(ENGINE_SRCS:.c=.o)
TOOL_OBJS = $(TOOL_SRCS:.c=.o)
OBJS = $(PG_SRCS:.c=.o) $(ENGINE_OBJS)

REGRESS = $(patsubst sql/%.sql,%,$(filter-out sql/dsvl2--%,$(sort $(wildcard sql/*.sql))))
REGRESS_OPTS = --inputdir=. --outputdir=build/regress

ENGINE_PKGS = libjpeg libpng libtiff-4 libwebp freetype2 zlib libpcre2-8 jansson libxxhash
# libqpdf is opened at run time (pdf_library.h), by the name that a linked program would ask for
QPDF_LIBRARY := $(shell objdump -p "$$(pkg-config --variable=libdir libqpdf)/libqpdf.so" | awk '$$1 == "SONAME" { print $$2 }')
# libqpdf may name the C++ standard of its other interface; libwebp's headers do not tell its version
ENGINE_CFLAGS := $(filter-out -std=%,$(shell pkg-config --cflags $(ENGINE_PKGS) libqpdf)) \
	-DDSV_WEBP_VERSION=$(shell pkg-config --modversion libwebp) -DDSV_QPDF_LIBRARY='"$(QPDF_LIBRARY)"'
ENGINE_LIBS := $(shell pkg-config --libs $(ENGINE_PKGS)) -lm -lpthread -ldl
# The server loads libraries with RTLD_GLOBAL: names of ours must not meet another library's
SHLIB_LINK = $(ENGINE_LIBS) -Wl,--version-script=src/pg/exports.map

EXTRA_CLEAN = build $(ENGINE_OBJS:.o=.d) $(PG_SRCS:.c=.d) $(TOOL_OBJS) $(TOOL_OBJS:.o=.d)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
# LLVM bitcode would be compiled by clang without the per-file flags below
override with_llvm := no
include $(PGXS)

override CFLAGS += -std=gnu11 -Wextra -Wshadow -Wstrict-prototypes -Wno-unused-parameter \
	-Wno-missing-field-initializers -Wno-sign-compare -Wno-clobbered \
	-Wno-declaration-after-statement -MMD -MP

# Half an engine is no engine: what the server must not see stays hidden.  Never a flag
# that changes floating point for the whole process (-ffast-math on a link line does).
ENGINE_ONLY = $(ENGINE_CFLAGS) -O3 -fvisibility=hidden -Wno-declaration-after-statement
$(ENGINE_OBJS): override CFLAGS += $(ENGINE_ONLY)
src/kernels/%.o: override CFLAGS += -ffp-contract=off
src/engine/resize.o: override CFLAGS += -ffp-contract=off

# kernels_SET.c by the instructions that it may use
ISA_avx2 = -mavx2 -mfma -mf16c
ISA_avx2_vnni = $(ISA_avx2) -mavxvnni
ISA_avx512 = $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
ISA_avx512_vnni = $(ISA_avx512) -mavx512vnni
ISA_avx512_bf16 = $(ISA_avx512) -mavx512bf16
ISA_amx = $(ISA_avx512) -mamx-tile -mamx-bf16 -mamx-int8
ISA_SETS = $(if $(filter x86_64,$(host_cpu)),avx2 avx2_vnni avx512 avx512_vnni avx512_bf16 amx)
$(foreach s,$(ISA_SETS),$(eval src/kernels/kernels_$s.o: override CFLAGS += $(ISA_$s)))

all: build/dsvl2

SHARE_DIR = $(DESTDIR)$(datadir)/dsvl2
NANO_DIR = $(SHARE_DIR)/nano
NANO_FILES = config.json dsvl2.json model.safetensors processor_config.json tokenizer.json \
	tokenizer_config.json README.md

install: install-dsvl2
.PHONY: install-dsvl2
install-dsvl2: build/dsvl2
	$(MKDIR_P) '$(NANO_DIR)' '$(SHARE_DIR)/fonts' '$(DESTDIR)$(bindir)'
	$(INSTALL_DATA) $(addprefix models/nano/,$(NANO_FILES)) '$(NANO_DIR)/'
	$(INSTALL_DATA) fonts/DejaVuSans-Bold.ttf fonts/LICENSE '$(SHARE_DIR)/fonts/'
	$(INSTALL_PROGRAM) build/dsvl2 '$(DESTDIR)$(bindir)/dsvl2'

uninstall: uninstall-dsvl2
.PHONY: uninstall-dsvl2
uninstall-dsvl2:
	rm -rf '$(NANO_DIR)' '$(SHARE_DIR)/fonts' '$(DESTDIR)$(bindir)/dsvl2'
	rmdir '$(SHARE_DIR)' || true

# ---- the engine without PostgreSQL: the link is the proof that the border holds ----

build/libdsv.a: $(ENGINE_OBJS)
	@mkdir -p $(@D)
	rm -f $@ && $(AR) crs $@ $^

$(TOOL_OBJS): override CFLAGS += $(ENGINE_CFLAGS)

build/dsvl2: $(TOOL_OBJS) build/libdsv.a build/qpdf-names
	$(CC) $(CFLAGS) -o $@ $(TOOL_OBJS) build/libdsv.a $(ENGINE_LIBS)

# Fails where libqpdf lacks a function that is looked up at run time
build/qpdf-names: src/engine/pdf_library.h
	@mkdir -p $(@D)
	echo 'DSV_QPDF_FUNCTIONS(USE) int main(void) { return 0; }' | \
		$(CC) $(ENGINE_CFLAGS) -include $< '-DUSE(name)=void *use_##name = (void *) qpdf_##name;' \
		-x c -o $@ - $(shell pkg-config --libs libqpdf)

# ---- unit tests ----

UNIT_BINS = $(patsubst test/unit/%.c,build/unit/%,$(UNIT_SRCS))

build/unit/%: test/unit/%.c build/libdsv.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(ENGINE_CFLAGS) -Isrc/engine -Isrc/kernels -o $@ $< build/libdsv.a \
		-Wl,--as-needed $(ENGINE_LIBS) -lcmocka -lz

.PHONY: check-unit check-emulated check-golden check-regress check-tap check-soak
check-unit: $(UNIT_BINS)
	scripts/run-unit $(UNIT_BINS)

# the kernels on an emulated processor; scripts/check-emulated says what that takes
check-emulated: build/unit/test_kernels
	scripts/check-emulated

# ---- the reference implementation's vectors, and nano's own ----

GOLDEN = tiny-like small-like base-like variant-a variant-b variant-c
golden-cases = $(filter-out %/prompts.json,$(wildcard test/golden/cases/$1/*.json))

# nano packed: how far its answers may be from those of the published weights
check-packed = build/dsvl2 pack --quiet --force --quant $1 models/nano build/nano-$1.safetensors && \
	build/dsvl2 compare --most $2 models/nano build/nano-$1.safetensors models/nano/samples

check-golden: build/dsvl2
	@$(foreach m,$(GOLDEN),build/dsvl2 golden test/golden/$m $(call golden-cases,$m) &&) true
	@$(foreach m,$(GOLDEN),build/dsvl2 golden --cpu avx2 test/golden/$m test/golden/cases/$m/one_image.json &&) true
	@$(foreach m,$(GOLDEN),build/dsvl2 golden --precision bf16 test/golden/$m $(call golden-cases,$m) &&) true
	@build/dsvl2 nano-check --accuracy models/nano/accuracy.json models/nano models/nano/samples
	@$(foreach q,bf16:1e-12 q8:0.002 q4:0.05,$(call check-packed,$(firstword $(subst :, ,$q)),$(lastword $(subst :, ,$q))) &&) true

# ---- servers ----

check-regress:
	scripts/run-regress

check-tap:
	scripts/run-tap

# ten thousand rows through vl_map
check-soak:
	DSVL2_SOAK=1 scripts/run-tap test/t/009_jobs.pl

# ---- speed ----

# BENCH_MODELS: of nano,tiny,small,base.  BENCH_TINY: a folder with Tiny's weights, else random ones are made.
# BENCH_OPTIONS: of bench/run (--runs, --tokens, --threads, --precision).  BENCH_ALSO: a command that prints rows
# of other engines.
BENCH_MODELS = nano,tiny,small,base
BENCH_DIR = build/bench
BENCH_TINY =
BENCH_OPTIONS =
BENCH_ALSO =

.PHONY: bench bench-doc check-bench
bench: build/dsvl2
	PG_CONFIG='$(PG_CONFIG)' bench/run --models '$(BENCH_MODELS)' --dir '$(BENCH_DIR)' $(if $(BENCH_TINY),--tiny '$(BENCH_TINY)') \
		$(if $(BENCH_ALSO),--also '$(BENCH_ALSO)') $(BENCH_OPTIONS)
	bench/report '$(BENCH_DIR)/bench.csv' '$(BENCH_DIR)'
	@cat '$(BENCH_DIR)/bench.md'

# what was measured last goes into doc/SPEED.md
bench-doc:
	bench/report --doc '$(BENCH_DIR)/bench.csv'

check-bench: build/dsvl2
	bench/check

# ---- fuzz targets: the engine built anew by clang's libFuzzer with the sanitizers ----

FUZZ_CC = clang
FUZZ_SECONDS = 10
# a crash in a child process would be no finding
FUZZ_FLAGS = -std=gnu11 -D_GNU_SOURCE -DDSV_SANDBOX_INLINE -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined
FUZZ_OBJS = $(patsubst src/%.c,build/fuzz/%.o,$(KERNEL_SRCS) $(ENGINE_SRCS))
FUZZ_BINS = $(patsubst test/fuzz/%.c,build/fuzz/%,$(wildcard test/fuzz/fuzz_*.c))

# Without the sanitizers, with which clang takes minutes over these; test_kernels has them
# work between pages that must not be touched.
FUZZ_PLAIN = -std=gnu11 -D_GNU_SOURCE -g -O1
$(foreach s,$(ISA_SETS),$(eval build/fuzz/kernels/kernels_$s.o: FUZZ_ISA = $(ISA_$s)))

build/fuzz/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(if $(FUZZ_ISA),$(FUZZ_PLAIN) $(FUZZ_ISA),$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link) $(ENGINE_CFLAGS) -MMD -MP -c -o $@ $<

build/fuzz/libdsv.a: $(FUZZ_OBJS)
	rm -f $@ && $(AR) crs $@ $^

build/fuzz/fuzz_%: test/fuzz/fuzz_%.c test/fuzz/fuzz.h build/fuzz/libdsv.a
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -Isrc/engine $(ENGINE_CFLAGS) -o $@ $< build/fuzz/libdsv.a \
		$(ENGINE_LIBS)

# seeds that only a build can make
build/fuzz/packed: build/dsvl2 test/golden/variant-a test/golden/variant-b
	@mkdir -p $@
	build/dsvl2 pack --quiet --force --quant q8 test/golden/variant-a $@/a.safetensors
	build/dsvl2 pack --quiet --force --quant q4 test/golden/variant-b $@/b.safetensors
	@touch $@

.PHONY: check-fuzz
check-fuzz: $(FUZZ_BINS) build/fuzz/packed
	scripts/run-fuzz $(FUZZ_SECONDS) $(FUZZ_BINS)

-include $(FUZZ_OBJS:.o=.d)

-include $(ENGINE_OBJS:.o=.d) $(PG_SRCS:.c=.d) $(TOOL_OBJS:.o=.d) $(wildcard build/unit/*.d)
