#!/bin/sh
# Builds the harness and records every family: record.sh [seed] [output directory]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seed=${1:-1}
data=${2:-$here/../data}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
for program in harness ldt16; do
  ${CC:-gcc} -m32 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector -mno-sse \
    -fno-asynchronous-unwind-tables -Wa,--noexecstack -o "$build/$program" "$here/$program.c"
done
mkdir -p "$data"
for family in alu unary muldiv shift bit mov cond branch branch16 stack string misc atomic segment fault; do
  "$build/harness" "$family" "$seed" > "$build/$family.jsonl"
  gzip -9n < "$build/$family.jsonl" > "$data/$family.jsonl.gz"
  echo "$family: $(($(wc -l < "$build/$family.jsonl") - 1)) vectors"
done
for family in alu unary muldiv shift bit mov cond branch stack string misc atomic segment fault; do
  "$build/ldt16" "$family" "$seed" > "$build/ldt16-$family.jsonl"
  gzip -9n < "$build/ldt16-$family.jsonl" > "$data/ldt16-$family.jsonl.gz"
  echo "ldt16-$family: $(($(wc -l < "$build/ldt16-$family.jsonl") - 1)) vectors"
done
${CC:-gcc} -O1 -mno-red-zone -Wall -Wextra -Werror -o "$build/x87" "$here/x87.c"
for family in x87-arith x87-compare x87-convert x87-move x87-unary x87-transcendental; do
  "$build/x87" "$family" "$seed" > "$build/$family.jsonl"
  gzip -9n < "$build/$family.jsonl" > "$data/$family.jsonl.gz"
  echo "$family: $(($(wc -l < "$build/$family.jsonl") - 1)) vectors"
done
${CC:-gcc} -O1 -mno-red-zone -Wall -Wextra -Werror -o "$build/sse" "$here/sse.c"
for family in mmx sse sse2 sse3 ssse3; do
  "$build/sse" "$family" "$seed" > "$build/$family.jsonl"
  gzip -9n < "$build/$family.jsonl" > "$data/simd-$family.jsonl.gz"
  echo "simd-$family: $(($(wc -l < "$build/$family.jsonl") - 1)) vectors"
done
