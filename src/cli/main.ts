#!/usr/bin/env node
/**
 * The command `spnego`. Every command is written against the entries, like any program of a user.
 */
import { program } from './program.ts'

await program.parseAsync()
