/** The version before: what the tests use of it is declared alike. */
declare module 'express4' {
  import express from 'express'

  export default express
}
