# Signs every case of cases.json with Crypt::JWT; one JSON line a token on standard output.
use strict;
use warnings;
use Crypt::JWT qw(encode_jwt);
use FindBin;
use JSON::PP;
use MIME::Base64 qw(decode_base64url);

open my $file, '<:raw', "$FindBin::Bin/cases.json" or die $!;
my $json = JSON::PP->new->utf8->canonical;
for my $case (@{ $json->decode(do { local $/; <$file> }) }) {
    my $token = eval {
        encode_jwt(payload => $case->{claims}, alg => 'HS256', key => decode_base64url($case->{secret}),
            extra_headers => { typ => 'JWT' });
    };
    if (!defined $token) {
        warn "Crypt::JWT will not make $case->{case}: $@";
        next;
    }
    print $json->encode({ library => 'Crypt::JWT', version => $Crypt::JWT::VERSION, language => 'Perl',
        case => $case->{case}, token => $token }), "\n";
}
