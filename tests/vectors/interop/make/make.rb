# Signs every case of cases.json with ruby-jwt; one JSON line a token on standard output.
require 'base64'
require 'json'
require 'jwt'

JSON.parse(File.read(File.join(__dir__, 'cases.json'))).each do |c|
  secret = Base64.urlsafe_decode64(c['secret'])
  token = JWT.encode(c['claims'], secret, 'HS256', { typ: 'JWT' })
  puts JSON.generate(library: 'ruby-jwt', version: JWT::VERSION::STRING, language: 'Ruby',
                     case: c['case'], token: token)
rescue StandardError => e
  warn "ruby-jwt will not make #{c['case']}: #{e.message}"
end
